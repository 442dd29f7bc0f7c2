//! Facts about this host and this process: clocks, identity, privileges, own memory and CPU time.
//!
//! The only place that reads the wall clock. Everything else runs on the monotonic clock and goes
//! through [`Anchor`] where people or other hosts read it.

use std::{
    ffi::{CStr, CString},
    fs,
    time::SystemTime,
};

use whyslow_engine::input::Settings;
use whyslow_proto::Timestamp;

/// Now on the clock that kernel records carry (`bpf_ktime_get_ns`, `CLOCK_MONOTONIC`), ns.
#[must_use]
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CPU time that this process used, all threads, ns.
#[must_use]
pub fn own_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result and outlives the call.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return 0;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Resident memory of this process, bytes (`/proc/self/statm`, field 2); 0 when not readable.
#[must_use]
pub fn own_rss_bytes() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/statm") else {
        return 0;
    };
    let pages: u64 = text
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0);
    // SAFETY: sysconf has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.saturating_mul(u64::try_from(page).unwrap_or(4096))
}

/// Gives memory that start-up needed and freed back to the kernel: reading the kernel's types takes
/// tens of megabytes for a moment, and the allocator would keep them.
pub fn release_unused_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and is thread-safe.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Kernel release, as `uname -r`; "unknown" when not readable.
#[must_use]
pub fn kernel_release() -> String {
    read_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned())
}

/// Effective user is root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Effective capabilities, one bit each (`/proc/self/status`, `CapEff`); 0 when not readable.
#[must_use]
pub fn capabilities() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0)
}

/// Id of the group of a name, in any of this host's name services; `None`: there is no such group.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    look_up_group(|group, text, found| {
        // SAFETY: all pointers are to live values, and the length is that of the text.
        unsafe { libc::getgrnam_r(name.as_ptr(), group, text.as_mut_ptr(), text.len(), found) }
    })
    .map(|(id, _)| id)
}

/// Name of the group of an id; the id itself when it has none.
#[must_use]
pub fn group_name(id: u32) -> String {
    look_up_group(|group, text, found| {
        // SAFETY: all pointers are to live values, and the length is that of the text.
        unsafe { libc::getgrgid_r(id, group, text.as_mut_ptr(), text.len(), found) }
    })
    .map_or_else(|| id.to_string(), |(_, name)| name)
}

/// Runs one of the `getgr..._r` with enough room for the group's texts.
fn look_up_group(
    ask: impl Fn(*mut libc::group, &mut [libc::c_char], *mut *mut libc::group) -> libc::c_int,
) -> Option<(u32, String)> {
    // Members' names are among the texts: a large group needs much room.
    for room in [1 << 10, 1 << 16, 1 << 20] {
        let mut text = vec![0; room];
        // SAFETY: an all-zero `group` is a valid value: integers and pointers that may be null.
        let mut group: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        let result = ask(&raw mut group, &mut text, &raw mut found);
        if result == libc::ERANGE {
            continue;
        }
        if result != 0 || found.is_null() {
            return None;
        }
        // SAFETY: the call succeeded, so the name is a string within `text`, which still lives.
        let name = unsafe { CStr::from_ptr(group.gr_name) };
        return Some((group.gr_gid, name.to_string_lossy().into_owned()));
    }
    None
}

fn read_line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The engine's settings for this host, started now.
#[must_use]
pub fn settings() -> Settings {
    let start_ns = monotonic_ns();
    let start_unix_ns = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        });
    Settings {
        host_id: host_id(),
        start_ns,
        start_unix_ns,
        ..Settings::default()
    }
}

/// This host and boot as a number: FNV-1a of the boot id and the host name.
fn host_id() -> u64 {
    let boot = read_line("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let host = read_line("/proc/sys/kernel/hostname").unwrap_or_default();
    boot.bytes()
        .chain(host.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// Time of day in the local time zone, `14:23:45.123`.
#[must_use]
pub fn local_time_of_day(time: &Timestamp) -> String {
    let seconds: libc::time_t = time.seconds;
    // SAFETY: an all-zero `tm` is a valid value (its only pointer may be null).
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types.
    if unsafe { libc::localtime_r(&raw const seconds, &raw mut local) }.is_null() {
        return time.to_rfc3339().unwrap_or_default();
    }
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        local.tm_hour,
        local.tm_min,
        local.tm_sec,
        time.nanos / 1_000_000
    )
}

/// Ties the monotonic clock to the wall clock: one pair, taken at the agent's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Monotonic time of the pair, ns.
    pub monotonic_ns: u64,
    /// Wall clock of the pair, ns since the Unix epoch.
    pub unix_ns: u64,
}

impl Anchor {
    /// The anchor of an engine's settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            monotonic_ns: settings.start_ns,
            unix_ns: settings.start_unix_ns,
        }
    }

    /// Wall-clock time of a monotonic one.
    #[must_use]
    pub fn timestamp(&self, monotonic_ns: u64) -> Timestamp {
        let unix_ns = if monotonic_ns >= self.monotonic_ns {
            self.unix_ns
                .saturating_add(monotonic_ns - self.monotonic_ns)
        } else {
            self.unix_ns
                .saturating_sub(self.monotonic_ns - monotonic_ns)
        };
        Timestamp::from_unix_ns(unix_ns)
    }
}

/// Where the tree of control groups (version 2) is mounted.
#[must_use]
pub fn cgroup_mount() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.get(2) != Some(&"cgroup2") {
            return None;
        }
        fields.get(1).map(ToString::to_string)
    })
}

/// A control group as `/proc/PID/cgroup` names it: people also give its folder below `mount`, or leave
/// out the first slash.
#[must_use]
pub fn cgroup_name(given: &str, mount: &str) -> String {
    let below = given
        .strip_prefix(mount)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(given);
    format!("/{}", below.trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchor_goes_both_ways() {
        let anchor = Anchor {
            monotonic_ns: 1_000,
            unix_ns: 5_000_000_000,
        };
        assert_eq!(anchor.timestamp(1_001).unix_ns(), 5_000_000_001);
        assert_eq!(anchor.timestamp(999).unix_ns(), 4_999_999_999);
    }

    #[test]
    fn own_figures_are_there() {
        assert!(monotonic_ns() > 0);
        assert!(own_cpu_ns() > 0);
        assert!(own_rss_bytes() > 100_000);
        assert_ne!(kernel_release(), "unknown");
        assert_ne!(host_id(), 0);
    }

    #[test]
    fn groups_by_name_and_by_number() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("no such group"), None);
        assert_eq!(group_name(0), "root");
        assert_eq!(group_name(4_000_000_000), "4000000000");
    }

    #[test]
    fn control_groups_by_any_of_their_names() {
        for given in ["/a/b", "a/b", "/a/b/", "/sys/fs/cgroup/a/b"] {
            assert_eq!(cgroup_name(given, "/sys/fs/cgroup"), "/a/b", "{given}");
        }
        assert_eq!(
            cgroup_name("/sys/fs/cgroupX", "/sys/fs/cgroup"),
            "/sys/fs/cgroupX"
        );
        assert_eq!(cgroup_name("/", "/sys/fs/cgroup"), "/");
    }
}
