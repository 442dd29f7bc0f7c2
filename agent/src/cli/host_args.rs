//! Options of every subcommand that loads the programs itself: what to watch, and limits.

use std::path::Path;

use clap::{Arg, ArgMatches, Args, parser::ValueSource};
use whyslow_abi::thread::MAX_THREADS;
use whyslow_engine::input::Settings;

use super::{Context, duration, usage, value, watched};
use crate::{
    config::Config,
    host,
    source::{KernelOptions, Source as _, WatchRules, kernel::KernelSource},
};

/// Capability numbers, from `include/uapi/linux/capability.h`.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// What to watch, and limits.
#[derive(Clone, Debug, Default, Args)]
#[command(mut_args(switch))]
pub(super) struct HostArgs {
    /// Watch these processes only (and their children)
    #[arg(
        long,
        value_name = "PID",
        value_delimiter = ',',
        value_parser = value::pid,
        help_heading = "What to watch"
    )]
    pid: Vec<u32>,
    /// Watch processes of this name only
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "What to watch"
    )]
    comm: Vec<String>,
    /// Watch processes that listen on this TCP port only
    #[arg(
        long,
        value_name = "PORT",
        value_delimiter = ',',
        value_parser = value::port,
        help_heading = "What to watch"
    )]
    port: Vec<u16>,
    /// Watch processes in this control group (and below) only
    #[arg(
        long,
        value_name = "PATH",
        value_delimiter = ',',
        help_heading = "What to watch"
    )]
    cgroup: Vec<String>,
    /// Never watch these processes
    #[arg(
        long,
        value_name = "PID",
        value_delimiter = ',',
        value_parser = value::pid,
        help_heading = "What to watch"
    )]
    exclude_pid: Vec<u32>,
    /// Never watch processes of this name
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "What to watch"
    )]
    exclude_comm: Vec<String>,
    /// Never watch processes that listen on this TCP port
    #[arg(
        long,
        value_name = "PORT",
        value_delimiter = ',',
        value_parser = value::port,
        help_heading = "What to watch"
    )]
    exclude_port: Vec<u16>,
    /// Never watch processes in this control group (or below)
    #[arg(
        long,
        value_name = "PATH",
        value_delimiter = ',',
        help_heading = "What to watch"
    )]
    exclude_cgroup: Vec<String>,
    /// Follow all programs that are started on this host, not only those that watched processes start
    #[arg(long, help_heading = "What to watch")]
    programs: Option<bool>,
    /// Route template, tried before the built-in rules: '/shop/{name}/item/{id}'; repeatable
    #[arg(
        long = "route-rule",
        value_name = "TEMPLATE",
        help_heading = "Requests"
    )]
    routes: Vec<String>,
    /// Keep the values of query strings (they may hold secrets)
    #[arg(long, help_heading = "Requests")]
    show_query: Option<bool>,
    /// Keep the arguments of the programs that are started (they may hold secrets)
    #[arg(long, help_heading = "Requests")]
    show_arguments: Option<bool>,
    /// Read what requests ask of databases, caches, HTTP and name servers: counts, times, shapes. Costs more
    #[arg(long, help_heading = "Requests")]
    operations: Option<bool>,
    /// Tell a shape that one request asks for this often as repeated (10 unless given)
    #[arg(long, value_name = "N", help_heading = "Requests")]
    repeated: Option<u64>,
    /// Keep literals, keys and arguments in shapes: whatever secrets are in them leave the agent. Values bound to
    /// prepared statements are never read
    #[arg(long, help_heading = "Requests")]
    show_literals: Option<bool>,
    /// Read SQLite and what OpenSSL encrypts too (implies --operations), by breakpoints on functions of mapped
    /// libraries. Costs every process that calls them about 1 us a call; on virtual machines 20 us and more where
    /// the kernel has to step over an instruction
    #[arg(long, help_heading = "Requests")]
    library_probes: Option<bool>,
    /// Shortest wait kept with a request, such as 1ms
    #[arg(long, value_name = "DURATION", help_heading = "Requests")]
    wait_floor: Option<String>,
    /// Tell an event loop that does not come back to poll for this long, such as 20ms; 0: none
    #[arg(long, value_name = "DURATION", help_heading = "Requests")]
    loop_stall_limit: Option<String>,
    /// Routes kept at the most; more are summed as "(other)"
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_routes: Option<usize>,
    /// Requests in flight kept at the most
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_in_flight: Option<usize>,
    /// Threads watched at the most (65534 is the limit)
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_threads: Option<u32>,
    /// Connections followed at the most
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_connections: Option<u32>,
    /// Bytes of the ring buffer; a power of two, at least 4096
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    ring_bytes: Option<u32>,
}

/// Names of those options of [`HostArgs`] that the command line gives, in the order of the help.
pub(super) fn given(matches: &ArgMatches) -> Vec<String> {
    HostArgs::augment_args(clap::Command::new(""))
        .get_arguments()
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| arg.get_long())
        .map(|name| format!("--{name}"))
        .collect()
}

/// Flags that can also be turned off, should the file turn them on.
const SWITCHES: [&str; 6] = [
    "show_query",
    "show_arguments",
    "programs",
    "operations",
    "show_literals",
    "library_probes",
];

/// Makes a switch of an argument that is one.
fn switch(arg: Arg) -> Arg {
    if !SWITCHES.contains(&arg.get_id().as_str()) {
        return arg;
    }
    arg.value_name("true|false")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
}

impl HostArgs {
    /// Options of the kernel side: flags, else the configuration, else the defaults.
    pub(super) fn kernel_options(&self, context: &Context) -> anyhow::Result<KernelOptions> {
        let config = &context.config;
        let defaults = KernelOptions::default();
        let (operations, library_probes) = self.reads(config)?;
        let rules = self.watch_rules(config)?;
        let ring_bytes = self
            .ring_bytes
            .or(config.ring_bytes)
            .unwrap_or(defaults.ring_bytes);
        if !ring_bytes.is_power_of_two() || ring_bytes < 4096 {
            return Err(usage(format!(
                "a ring of {ring_bytes} bytes is not possible\nhint: --ring-bytes takes a power of two from 4096, such as 8388608"
            )));
        }
        let wait_floor = self.wait_floor.as_ref().or(config.wait_floor.as_ref());
        let wait_floor_ns = match wait_floor {
            Some(text) => nanoseconds("wait floor", text, "--wait-floor 1ms")?,
            None => defaults.wait_floor_ns,
        };
        let limit = self.loop_stall_limit.as_ref();
        let loop_stall_limit_ns = match limit.or(config.loop_stall_limit.as_ref()) {
            Some(text) if text == "0" => 0,
            Some(text) => nanoseconds("loop stall limit", text, "--loop-stall-limit 20ms")?,
            None => defaults.loop_stall_limit_ns,
        };
        check_route_rules(&either(&self.routes, &config.routes))?;
        if self.repeated.or(config.repeated) == Some(0) {
            return Err(usage(
                "a shape is not repeated 0 times\nhint: --repeated takes a number from 1, such as 10",
            ));
        }
        Ok(KernelOptions {
            rules,
            ring_bytes,
            max_threads: thread_limit(
                self.max_threads
                    .or(config.max_threads)
                    .unwrap_or(defaults.max_threads),
            )?,
            max_connections: positive(
                "--max-connections",
                self.max_connections
                    .or(config.max_connections)
                    .unwrap_or(defaults.max_connections),
            )?,
            wait_floor_ns,
            all_programs: self.programs.or(config.programs).unwrap_or(false),
            loop_stall_limit_ns,
            operations,
            library_probes,
        })
    }

    /// Whether operations are read, and by library probes too. Probes imply operations; without operations, the
    /// command line turns off the probes of the file too.
    fn reads(&self, config: &Config) -> anyhow::Result<(bool, bool)> {
        if self.operations == Some(false) && self.library_probes == Some(true) {
            return Err(usage(
                "--library-probes read operations, which --operations=false turns off\nhint: leave one of them out",
            ));
        }
        let probes = self.library_probes.or(config.library_probes) == Some(true);
        Ok(match self.operations {
            Some(false) => (false, false),
            flag => (probes || flag.or(config.operations) == Some(true), probes),
        })
    }

    /// Who is watched; a process that is named by its id must be there.
    fn watch_rules(&self, config: &Config) -> anyhow::Result<WatchRules> {
        let rules = WatchRules {
            pids: either(&self.pid, &config.pid),
            comms: either(&self.comm, &config.comm),
            ports: either(&self.port, &config.port),
            cgroups: control_groups(either(&self.cgroup, &config.cgroup)),
            exclude_pids: either(&self.exclude_pid, &config.exclude_pid),
            exclude_comms: either(&self.exclude_comm, &config.exclude_comm),
            exclude_ports: either(&self.exclude_port, &config.exclude_port),
            exclude_cgroups: control_groups(either(&self.exclude_cgroup, &config.exclude_cgroup)),
        };
        for pid in &rules.pids {
            if !Path::new(&format!("/proc/{pid}")).exists() {
                anyhow::bail!(
                    "no process has the id {pid}\nhint: pgrep -a NAME finds it; --comm NAME watches by name"
                );
            }
        }
        Ok(rules)
    }

    /// Settings of the engine, started now.
    pub(super) fn settings(&self, context: &Context) -> Settings {
        let config = &context.config;
        let defaults = host::settings();
        let show_literals = self.show_literals.or(config.show_literals).unwrap_or(false);
        if show_literals && matches!(self.reads(config), Ok((false, _))) {
            tracing::warn!("--show-literals shows nothing without --operations");
        }
        Settings {
            show_query: self.show_query.or(config.show_query).unwrap_or(false),
            show_literals,
            show_arguments: self
                .show_arguments
                .or(config.show_arguments)
                .unwrap_or(false),
            repeated: self
                .repeated
                .or(config.repeated)
                .unwrap_or(defaults.repeated),
            route_rules: either(&self.routes, &config.routes),
            max_routes: self
                .max_routes
                .or(config.max_routes)
                .unwrap_or(defaults.max_routes),
            max_in_flight: self
                .max_in_flight
                .or(config.max_in_flight)
                .unwrap_or(defaults.max_in_flight),
            ..defaults
        }
    }
}

/// What was said on the command line, else in the file.
fn either<T: Clone>(flags: &[T], file: &[T]) -> Vec<T> {
    if flags.is_empty() { file } else { flags }.to_vec()
}

/// Names as the kernel tells them. One that is not there may come: that is worth a word.
fn control_groups(given: Vec<String>) -> Vec<String> {
    let Some(mount) = host::cgroup_mount() else {
        return given;
    };
    given
        .iter()
        .map(|given| {
            let name = host::cgroup_name(given, &mount);
            if !Path::new(&format!("{mount}{name}")).is_dir() {
                tracing::warn!("no control group {name} is there yet (looked below {mount})");
            }
            name
        })
        .collect()
}

fn positive(name: &str, value: u32) -> anyhow::Result<u32> {
    if value == 0 {
        return Err(usage(format!(
            "{name} 0 leaves no room\nhint: leave it out for the default"
        )));
    }
    Ok(value)
}

fn thread_limit(value: u32) -> anyhow::Result<u32> {
    if value > MAX_THREADS {
        return Err(usage(format!(
            "--max-threads {value} is more than can be watched\nhint: {MAX_THREADS} is the limit"
        )));
    }
    positive("--max-threads", value)
}

/// A rule is compared with paths, which all begin with a slash.
fn check_route_rules(rules: &[String]) -> anyhow::Result<()> {
    match rules.iter().find(|rule| !rule.starts_with('/')) {
        Some(rule) => Err(usage(format!(
            "the route rule {rule:?} does not begin with a slash\nhint: --route-rule '/shop/{{name}}/item/{{id}}'"
        ))),
        None => Ok(()),
    }
}

/// Loads and attaches the programs; says what is watched, and which features are off.
pub(super) fn start_kernel(options: KernelOptions) -> anyhow::Result<KernelSource> {
    let source = KernelSource::start(options.clone())?;
    host::release_unused_memory();
    for feature in source.features() {
        if !feature.available {
            tracing::warn!("{} is off: {}", feature.name, feature.reason);
        }
    }
    watched::log(&options);
    Ok(source)
}

/// Whether programs can be loaded by this process.
pub(super) fn is_privileged() -> bool {
    let capabilities = host::capabilities();
    let both = CAP_BPF | CAP_PERFMON;
    capabilities & CAP_SYS_ADMIN != 0 || capabilities & both == both
}

/// An error unless programs can be loaded.
pub(super) fn require_privileges(command: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        is_privileged(),
        "loading eBPF programs needs root (or CAP_BPF and CAP_PERFMON)\nhint: sudo whyslow {command}"
    );
    Ok(())
}

/// A duration of the command line or the file. `what` it is, and how it is given.
fn nanoseconds(what: &str, text: &str, hint: &str) -> anyhow::Result<u64> {
    let duration = duration::parse(text);
    let duration = duration.map_err(|error| usage(format!("{what}: {error}\nhint: {hint}")))?;
    Ok(duration::nanoseconds(duration))
}

#[cfg(test)]
mod tests;
