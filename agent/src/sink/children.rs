//! What a request started, in lines below it.

use std::fmt::Write as _;

use whyslow_proto::v1;
use whyslow_top::printable;

use super::text::duration;

/// Children shown for each request.
const CHILDREN: usize = 5;

/// What a request started: a line for each of the longest.
pub(super) fn children(request: &v1::RequestFinished, out: &mut Vec<u8>) {
    let (shown, hidden) = request
        .children
        .split_at(request.children.len().min(CHILDREN));
    for one in shown {
        let line = format!("  child  {}", child(one, request.pid));
        out.extend(format!("{}\n", printable(&line)).bytes());
    }
    let hidden: u32 = hidden.iter().map(|child| child.count).sum();
    if hidden > 0 {
        let noun = if hidden == 1 { "child" } else { "children" };
        out.extend(format!("  … and {hidden} more {noun}\n").bytes());
    }
}

fn child(child: &v1::Child, of: u32) -> String {
    if child.pid == 0 {
        return format!("{} others  {} in all", child.count, duration(child.wall_ns));
    }
    let mut line = format!(
        "{}  {}  cpu {}",
        child.command,
        duration(child.wall_ns),
        duration(child.cpu_ns)
    );
    if child.waited_ns > 0 {
        let _ = write!(line, "  waited for {}", duration(child.waited_ns));
    }
    if child.startup_ns > 0 {
        let _ = write!(line, "  first output after {}", duration(child.startup_ns));
    }
    let _ = match (child.running, child.signal, child.exit_code) {
        (true, ..) => write!(line, "  still running"),
        (_, 0, 0) => Ok(()),
        (_, 0, code) => write!(line, "  failed with status {code}"),
        (_, signal, _) => write!(line, "  ended by signal {signal}"),
    };
    let _ = write!(line, "  pid {}", child.pid);
    if child.parent_pid != of {
        let _ = write!(line, " of {}", child.parent_pid);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::Anchor, sink::wire, testing};

    #[test]
    fn children_are_told_below() {
        let anchor = Anchor {
            monotonic_ns: 0,
            unix_ns: 0,
        };
        let mut request = wire::request_finished(&testing::finished(), anchor);
        let child = |pid, command: &str, parent_pid| v1::Child {
            pid,
            command: command.to_owned(),
            parent_pid,
            wall_ns: 1_400_000_000,
            cpu_ns: 900_000_000,
            count: 1,
            ..v1::Child::default()
        };
        let mut helper = child(50, "python3 helper.py", request.pid);
        (helper.waited_ns, helper.startup_ns) = (1_300_000_000, 1_200_000_000);
        let mut killed = child(51, "sh\u{1b}[2J -c", 50);
        killed.signal = 9;
        let mut running = child(52, "sleep", request.pid);
        running.running = true;
        let mut failed = running.clone();
        (failed.running, failed.exit_code) = (false, 3);
        let mut others = child(0, "(others)", 0);
        others.count = 24;
        request.children = vec![helper, killed, running, failed, others.clone(), others];
        let mut out = Vec::new();
        children(&request, &mut out);
        let text = String::from_utf8(out).unwrap();
        let expected = [
            "  child  python3 helper.py  1.40s  cpu 900ms  waited for 1.30s  first output after 1.20s  pid 50",
            "  child  sh\\x1b[2J -c  1.40s  cpu 900ms  ended by signal 9  pid 51 of 50",
            "  child  sleep  1.40s  cpu 900ms  still running  pid 52",
            "  child  sleep  1.40s  cpu 900ms  failed with status 3  pid 52",
            "  child  24 others  1.40s in all",
            "  … and 24 more children",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
