//! Real servers for live tests, the benchmark and the demo: databases, caches and web servers.
//!
//! Each server listens on a free loopback port, keeps its data below a folder of the caller, is
//! ready to answer when its `start` returns, and ends when its value is dropped. What a server
//! printed is in a log file in its folder, and the end of it is part of every error.
//!
//! Not here: what the servers are asked, and the agent that watches them. What must stay true:
//! nothing that was started outlives the value that stands for it, nor this process, however it
//! ends (see [`Process`]). Apart from the live tests' own package, so that the tasks that build
//! the project need not build its tests first.

mod certificate;
mod demo;
mod environment;
mod gunicorn;
pub mod http;
mod mariadb;
mod memcached;
mod nginx;
mod place;
mod postgres;
mod process;
mod redis;
mod scratch;
mod wait;

pub use certificate::Certificate;
pub use demo::Demo;
pub use environment::Environment;
pub use gunicorn::{Gunicorn, Options as GunicornOptions};
pub use mariadb::MariaDb;
pub use memcached::Memcached;
pub use nginx::Nginx;
pub use place::{app_dir, free_port, target_dir, venv_dir, venv_python, workspace_root};
pub use postgres::Postgres;
pub use process::{Process, StopSignal};
pub use redis::Redis;
pub use scratch::Scratch;
pub use wait::{wait_until, wait_until_ready};
