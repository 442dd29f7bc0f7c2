//! Harness of the live tests: the real agent, real servers, and a client that can misbehave.
//!
//! A live test starts what it needs, causes one thing, and waits, with a limit, for what must be seen.
//! Nothing here knows the agent's inside: it is driven through its command line, and what it says is
//! read from `whyslow watch --json`.

pub mod agent;
pub mod bpf;
pub mod cgroup;
pub mod event;
pub mod http;
pub mod live;
pub mod load;
pub mod process;
pub mod script;
pub mod served;
pub mod servers;
pub mod stats;
pub mod terminal;
pub mod truth;
pub mod wait;
pub mod watch;

pub use agent::Agent;
pub use live::{Live, live};
pub use wait::wait_for;
pub use watch::Watch;
