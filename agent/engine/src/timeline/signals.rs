//! Deadly signals of the last while, to name the sender when a process ends by one.

use std::collections::VecDeque;

use whyslow_abi::record::SignalKind;

use crate::decode::{self, Signal};

/// Signals kept.
const KEPT: usize = 256;
/// A signal older than this did not end a process now.
const RECENT_NS: u64 = 30_000_000_000;

/// Who sent a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) pid: u32,
    pub(crate) comm: String,
}

#[derive(Clone, Debug)]
struct Sent {
    time_ns: u64,
    target_tgid: u32,
    signal: u32,
    sender: Sender,
}

/// The last signals, newest last.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    sent: VecDeque<Sent>,
}

impl Signals {
    /// Keeps a signal that was sent. `code` > 0 is the kernel's own doing: no sender.
    pub(crate) fn note(&mut self, signal: &Signal) {
        if signal.event != SignalKind::Generate {
            return;
        }
        if self.sent.len() >= KEPT {
            self.sent.pop_front();
        }
        let raw = &signal.raw;
        let by_kernel = raw.code > 0;
        self.sent.push_back(Sent {
            time_ns: raw.header.time_ns,
            target_tgid: raw.target_tgid,
            signal: u32::try_from(raw.signal).unwrap_or(0),
            sender: Sender {
                pid: if by_kernel { 0 } else { raw.header.tgid },
                comm: if by_kernel {
                    String::new()
                } else {
                    decode::name(&raw.comm)
                },
            },
        });
    }

    /// Who sent `signal` to process `tgid` last.
    pub(crate) fn sender(&self, tgid: u32, signal: u32, now_ns: u64) -> Option<&Sender> {
        self.sent
            .iter()
            .rev()
            .find(|s| {
                s.target_tgid == tgid
                    && s.signal == signal
                    && now_ns.saturating_sub(s.time_ns) <= RECENT_NS
            })
            .map(|s| &s.sender)
    }
}

#[cfg(test)]
mod tests {
    use whyslow_abi::record::{RecordHeader, SignalRecord};

    use super::*;

    fn kill(time_ns: u64, sender: u32, target: u32, signal: i32, code: i32) -> Signal {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"kill");
        Signal {
            raw: SignalRecord {
                header: RecordHeader {
                    time_ns,
                    kind: 5,
                    tid: sender,
                    tgid: sender,
                    generation: 0,
                    sequence: 0,
                    reserved: 0,
                },
                event: 0,
                signal,
                code,
                group_exit_code: 0,
                target_tid: target,
                target_tgid: target,
                comm,
            },
            event: SignalKind::Generate,
        }
    }

    #[test]
    fn the_last_sender_of_that_signal() {
        let mut signals = Signals::default();
        signals.note(&kill(1, 5, 10, 9, 0));
        signals.note(&kill(2, 6, 10, 9, 0));
        signals.note(&kill(3, 7, 10, 15, 0));
        signals.note(&kill(4, 8, 11, 9, 0));
        assert_eq!(signals.sender(10, 9, 5).map(|s| s.pid), Some(6));
        assert_eq!(signals.sender(10, 6, 5), None);
        assert_eq!(signals.sender(10, 9, RECENT_NS * 2), None);
    }

    #[test]
    fn the_kernel_is_no_sender_and_the_table_is_bounded() {
        let mut signals = Signals::default();
        for n in 0..1000 {
            signals.note(&kill(n, 5, 10, 11, 1));
        }
        assert_eq!(signals.sent.len(), KEPT);
        assert_eq!(signals.sender(10, 11, 1000).map(|s| s.pid), Some(0));
    }
}
