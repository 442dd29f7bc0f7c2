//! Whose records pass. The kernel side watches whatever begins to serve HTTP, from its first request on;
//! whether the user's rules want that process is known here, before anybody else sees a record of it.

use std::collections::HashSet;

use whyslow_abi::{
    read_plain,
    record::{
        LifecycleKind, LifecycleRecord, ProgramEvent, ProgramRecord, RecordHeader, RecordKind,
    },
};

use super::rules;
use crate::source::WatchRules;

/// Processes remembered of each kind. Ends may be lost; then the judgement is made again.
const REMEMBERED: usize = 1 << 16;

/// What was judged so far.
#[derive(Debug, Default)]
pub(super) struct Admission {
    admitted: HashSet<u32>,
    refused: HashSet<u32>,
    /// Refused since the last look.
    dropped: Vec<u32>,
}

impl Admission {
    /// Whether a record may pass.
    pub(super) fn admits(&mut self, bytes: &[u8], rules: &WatchRules) -> bool {
        let Some(header) = read_plain::<RecordHeader>(bytes) else {
            return true;
        };
        let pid = header.tgid;
        if header.kind == RecordKind::Program as u32 {
            return self.admits_program(bytes);
        }
        if header.kind != RecordKind::Lifecycle as u32 {
            return !self.refused.contains(&pid);
        }
        let Some(record) = read_plain::<LifecycleRecord>(bytes) else {
            return true;
        };
        match LifecycleKind::try_from(record.event) {
            Ok(LifecycleKind::Discovered) => self.judge(pid, rules),
            // It may serve what was asked for from now on.
            Ok(LifecycleKind::Listen) => !self.refused.contains(&pid) || self.judge(pid, rules),
            // A new process: the id says nothing any more, its parent does.
            Ok(LifecycleKind::Fork) if header.tid == pid => {
                let refused = self.refused.contains(&record.parent);
                if refused {
                    self.refuse(pid);
                } else {
                    self.refused.remove(&pid);
                }
                !refused
            }
            Ok(LifecycleKind::Adopted) => {
                self.refused.remove(&pid);
                true
            }
            Ok(LifecycleKind::Exit) if record.last == 0 => !self.refused.contains(&pid),
            // The program that it runs now is judged when it serves.
            Ok(LifecycleKind::Exec) if record.slot != u32::MAX => {
                self.admitted.remove(&pid);
                !self.refused.contains(&pid)
            }
            // Another program may be judged otherwise.
            Ok(LifecycleKind::Exit | LifecycleKind::Exec) => {
                self.admitted.remove(&pid);
                !self.refused.remove(&pid)
            }
            _ => !self.refused.contains(&pid),
        }
    }

    /// Programs of processes that nobody wants are not wanted either.
    fn admits_program(&mut self, bytes: &[u8]) -> bool {
        let Some(record) = read_plain::<ProgramRecord>(bytes) else {
            return true;
        };
        let pid = record.header.tgid;
        if record.event == ProgramEvent::Fork as u32 {
            let refused = self.refused.contains(&record.parent);
            if refused {
                self.refuse(pid);
            } else {
                self.refused.remove(&pid);
            }
            return !refused;
        }
        if record.event == ProgramEvent::Exit as u32 && record.last != 0 {
            self.admitted.remove(&pid);
            return !self.refused.remove(&pid);
        }
        !self.refused.contains(&pid)
    }

    fn judge(&mut self, pid: u32, rules: &WatchRules) -> bool {
        if self.admitted.contains(&pid) {
            return true;
        }
        if rules::wants(pid, rules) {
            if self.admitted.len() >= REMEMBERED {
                self.admitted.clear();
            }
            self.refused.remove(&pid);
            self.admitted.insert(pid);
            return true;
        }
        self.refuse(pid);
        false
    }

    fn refuse(&mut self, pid: u32) {
        if self.refused.len() >= REMEMBERED {
            self.refused.clear();
        }
        self.refused.insert(pid);
        self.dropped.push(pid);
    }

    /// Processes that the kernel side is to leave alone.
    pub(super) fn take_dropped(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use whyslow_abi::plain_bytes;

    use super::*;

    fn lifecycle(event: LifecycleKind, tgid: u32, tid: u32, parent: u32) -> Vec<u8> {
        let mut record: LifecycleRecord = read_plain(&[0; size_of::<LifecycleRecord>()]).unwrap();
        record.header.kind = RecordKind::Lifecycle as u32;
        record.header.tgid = tgid;
        record.header.tid = tid;
        record.event = event as u32;
        record.parent = parent;
        record.last = 1;
        plain_bytes(&record).to_vec()
    }

    fn request(tgid: u32) -> Vec<u8> {
        let mut header: RecordHeader = read_plain(&[0; size_of::<RecordHeader>()]).unwrap();
        header.kind = RecordKind::Begin as u32;
        header.tgid = tgid;
        plain_bytes(&header).to_vec()
    }

    #[test]
    fn a_process_that_nobody_wants_passes_nothing_and_neither_do_its_children() {
        // This process listens on no such port, so it is not wanted.
        let own = std::process::id();
        let rules = WatchRules {
            ports: vec![1],
            ..WatchRules::default()
        };
        let mut admission = Admission::default();
        use LifecycleKind::{Adopted, Discovered, Exit, Fork, Listen};
        assert!(!admission.admits(&lifecycle(Discovered, own, own, 1), &rules));
        assert!(!admission.admits(&request(own), &rules));
        assert!(!admission.admits(&lifecycle(Listen, own, own, 1), &rules));
        assert!(!admission.admits(&lifecycle(Fork, 70, 70, own), &rules));
        assert!(!admission.admits(&request(70), &rules));
        assert_eq!(admission.take_dropped(), [own, own, 70]);
        assert!(admission.take_dropped().is_empty());
        // Others pass, and so does a later process of the same id.
        assert!(admission.admits(&request(71), &rules));
        assert!(admission.admits(&lifecycle(Fork, 70, 70, 71), &rules));
        assert!(admission.admits(&request(70), &rules));
        assert!(admission.admits(&lifecycle(Adopted, own, own, 1), &rules));
        assert!(admission.admits(&request(own), &rules));
        assert!(admission.admits(&lifecycle(Exit, own, own, 1), &rules));
    }

    #[test]
    fn without_rules_everything_passes() {
        let (mut admission, rules) = (Admission::default(), WatchRules::default());
        let discovered = lifecycle(LifecycleKind::Discovered, 5, 5, 1);
        assert!(admission.admits(&discovered, &rules));
        assert!(admission.admits(&request(5), &rules));
        assert!(admission.admits(&[1, 2], &rules));
    }
}
