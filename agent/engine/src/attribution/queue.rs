//! What went before the first read of a request: its connection in the queue of the listener, its bytes in the socket.
//! None of it is part of the wall time.

use whyslow_abi::{queue::QueueTimes, record::BeginRecord};

/// `AF_UNIX`.
const UNIX: u16 = 1;

/// How long a request waited before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// From max(established, first data) to the accept.
    pub(crate) accept_queue_ns: Option<u64>,
    /// From max(accepted, first data) to the first read.
    pub(crate) accept_to_read_ns: Option<u64>,
    /// From its first byte's arrival to the first read; 0: not known.
    pub(crate) socket_queue_ns: u64,
    /// Why one of the first two is not known, or an upper bound; empty: both are exact.
    pub(crate) unknown: &'static str,
    /// Connections in the listener's queue when this one was taken, and how many there may be; 0: not known.
    pub(crate) queued: u32,
    pub(crate) limit: u32,
}

impl Queue {
    fn unknown(why: &'static str) -> Self {
        Self {
            unknown: why,
            ..Self::default()
        }
    }

    /// Of a request whose bytes were read together with an earlier one.
    pub(crate) fn read_before() -> Self {
        Self::unknown("its bytes were read with those of an earlier request")
    }

    /// Of a request that begins with this read.
    pub(crate) fn of(begin: &BeginRecord) -> Self {
        let times = begin.queue;
        let read_ns = begin.header.time_ns;
        if begin.family == UNIX {
            return Self::unknown("the kernel tells no times of unix sockets");
        }
        if times.established_ns == 0 || times.accepted_ns == 0 {
            return Self::unknown("its connection was not seen to be accepted");
        }
        if begin.request > 1 {
            return Self {
                socket_queue_ns: since(times.data_ns, read_ns),
                ..Self::unknown("not the first request of its connection")
            };
        }
        Self::first(&times, read_ns)
    }

    fn first(times: &QueueTimes, read_ns: u64) -> Self {
        let arrived_ns = times.established_ns.max(times.data_ns);
        let known = Self {
            accept_queue_ns: Some(times.accepted_ns.saturating_sub(arrived_ns)),
            queued: times.queued,
            limit: times.limit,
            ..Self::default()
        };
        if times.data_ns == 0 {
            // A connection without a request counts as waiting, too.
            return Self {
                unknown: "when its first byte came is not known: an upper bound",
                ..known
            };
        }
        Self {
            accept_to_read_ns: Some(read_ns.saturating_sub(times.accepted_ns.max(times.data_ns))),
            socket_queue_ns: since(arrived_ns, read_ns),
            ..known
        }
    }
}

/// Time since a stamp, at least 1 ns; 0 for a stamp that is not there.
fn since(stamp_ns: u64, now_ns: u64) -> u64 {
    match stamp_ns {
        0 => 0,
        stamp_ns => now_ns.saturating_sub(stamp_ns).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(established_ns: u64, accepted_ns: u64, data_ns: u64) -> BeginRecord {
        let bytes = vec![0; size_of::<BeginRecord>()];
        let mut record: BeginRecord = whyslow_abi::read_plain(&bytes).unwrap();
        record.header.time_ns = 1_000;
        record.family = 2;
        record.request = 1;
        record.queue.established_ns = established_ns;
        record.queue.accepted_ns = accepted_ns;
        record.queue.data_ns = data_ns;
        record
    }

    fn both(record: &BeginRecord) -> (Option<u64>, Option<u64>, u64) {
        let queue = Queue::of(record);
        (
            queue.accept_queue_ns,
            queue.accept_to_read_ns,
            queue.socket_queue_ns,
        )
    }

    #[test]
    fn a_request_waits_from_when_it_came() {
        // Connected with the request, and accepted late.
        assert_eq!(both(&begin(100, 700, 150)), (Some(550), Some(300), 850));
        // Connected early: what came later was not waiting before.
        assert_eq!(both(&begin(100, 200, 900)), (Some(0), Some(100), 100));
        assert_eq!(both(&begin(100, 950, 900)), (Some(50), Some(50), 100));
        assert_eq!(Queue::of(&begin(100, 950, 900)).unknown, "");
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        for record in [begin(0, 700, 150), begin(100, 0, 150)] {
            assert_eq!(both(&record), (None, None, 0));
            assert!(Queue::of(&record).unknown.contains("not seen"));
        }
        let mut unix = begin(100, 700, 150);
        unix.family = UNIX;
        assert_eq!(both(&unix), (None, None, 0));
        assert!(Queue::of(&unix).unknown.contains("unix"));
        let no_data = Queue::of(&begin(100, 700, 0));
        assert_eq!(
            (no_data.accept_queue_ns, no_data.accept_to_read_ns),
            (Some(600), None)
        );
        assert!(no_data.unknown.contains("upper bound"));
    }

    #[test]
    fn a_later_request_lies_in_the_socket_only() {
        let mut record = begin(100, 200, 990);
        record.request = 2;
        assert_eq!(both(&record), (None, None, 10));
        assert!(!Queue::of(&record).unknown.is_empty());
        // Stamps of the same moment are known all the same.
        record.queue.data_ns = 1_000;
        assert_eq!(both(&record), (None, None, 1));
    }
}
