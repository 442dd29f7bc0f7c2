//! Fans events out to subscribers, each behind a bounded buffer.
//!
//! What must stay true: no subscriber can slow the engine down. One that does not keep up loses
//! events; they are counted, and the subscriber is told how many as soon as it has room.

use std::sync::Arc;

use tokio::sync::mpsc::{self, error::TrySendError};
use whyslow_proto::v1::{self, event::Event as Kind};

use super::{Pending, Sink, filter::Filter, wire};
use crate::host::Anchor;

/// Loss reason of events that a subscriber was too slow for.
pub const SUBSCRIBER_SLOW: &str = "subscriber_slow";

/// All subscribers.
#[derive(Debug)]
pub struct Hub {
    anchor: Anchor,
    buffer: usize,
    limit: usize,
    subscribers: Vec<Subscriber>,
    dropped: u64,
}

#[derive(Debug)]
struct Subscriber {
    filter: Filter,
    sender: mpsc::Sender<Arc<v1::Event>>,
    /// Lost and not told yet.
    dropped: u64,
}

impl Hub {
    /// Without subscribers. `buffer`: events kept for each; `limit`: subscribers at the most.
    #[must_use]
    pub fn new(anchor: Anchor, buffer: usize, limit: usize) -> Self {
        Self {
            anchor,
            buffer,
            limit,
            subscribers: Vec::new(),
            dropped: 0,
        }
    }

    /// Adds a subscriber; `first` is what it gets before anything else. `None`: there are too many.
    pub fn subscribe(
        &mut self,
        filter: Filter,
        first: Vec<v1::Event>,
    ) -> Option<mpsc::Receiver<Arc<v1::Event>>> {
        self.forget_closed();
        if self.subscribers.len() >= self.limit {
            return None;
        }
        // What is in flight must not use up the room for what comes next.
        let (sender, receiver) = mpsc::channel(self.buffer + first.len());
        for event in first {
            // There is room for all of it, and nobody else sends.
            let _ = sender.try_send(Arc::new(event));
        }
        self.subscribers.push(Subscriber {
            filter,
            sender,
            dropped: 0,
        });
        Some(receiver)
    }

    /// Subscribers connected now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subscribers
            .iter()
            .filter(|subscriber| !subscriber.sender.is_closed())
            .count()
    }

    /// Nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events lost to slow subscribers since the start, over all of them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn forget_closed(&mut self) {
        self.subscribers
            .retain(|subscriber| !subscriber.sender.is_closed());
    }
}

impl Subscriber {
    /// Tells of lost events, if there are any and there is room.
    fn tell_dropped(&mut self, now_ns: u64, anchor: Anchor) {
        if self.dropped == 0 {
            return;
        }
        let Ok(permit) = self.sender.try_reserve() else {
            return;
        };
        let loss = wire::loss(SUBSCRIBER_SLOW, self.dropped, 0);
        permit.send(Arc::new(wire::wrap(Kind::Loss(loss), now_ns, anchor)));
        self.dropped = 0;
    }
}

impl Sink for Hub {
    fn event(&mut self, event: &mut Pending<'_>) -> anyhow::Result<()> {
        for subscriber in &mut self.subscribers {
            if !subscriber.filter.admits(&event.event.kind) {
                continue;
            }
            subscriber.tell_dropped(event.event.monotonic_ns, self.anchor);
            // As long as the loss cannot be told, nothing may overtake it.
            let sent = if subscriber.dropped > 0 {
                false
            } else {
                match subscriber.sender.try_send(event.wire()) {
                    Ok(()) | Err(TrySendError::Closed(_)) => true,
                    Err(TrySendError::Full(_)) => false,
                }
            };
            if !sent {
                subscriber.dropped += 1;
                self.dropped += 1;
            }
        }
        Ok(())
    }

    fn flush(&mut self, now_ns: u64) -> anyhow::Result<()> {
        if self.subscribers.is_empty() {
            return Ok(());
        }
        self.forget_closed();
        for subscriber in &mut self.subscribers {
            subscriber.tell_dropped(now_ns, self.anchor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use whyslow_engine::output::{Event, EventKind};

    use super::*;
    use crate::testing;

    fn anchor() -> Anchor {
        Anchor {
            monotonic_ns: 0,
            unix_ns: 0,
        }
    }

    fn send(hub: &mut Hub, monotonic_ns: u64) {
        let event = Event {
            monotonic_ns,
            kind: EventKind::RequestFinished(Arc::new(testing::finished())),
        };
        hub.event(&mut Pending::new(&event, anchor())).unwrap();
    }

    #[test]
    fn a_slow_subscriber_loses_is_told_and_goes_on() {
        let mut hub = Hub::new(anchor(), 2, 4);
        let mut slow = hub.subscribe(Filter::default(), Vec::new()).unwrap();
        let mut quick = hub.subscribe(Filter::default(), Vec::new()).unwrap();
        let mut quick_got = 0;
        for time in 1..=5 {
            send(&mut hub, time);
            while quick.try_recv().is_ok() {
                quick_got += 1;
            }
        }
        assert_eq!(quick_got, 5, "one subscriber's slowness is its own");
        assert_eq!(hub.dropped(), 3);
        assert_eq!(slow.try_recv().unwrap().monotonic_ns, 1);
        assert_eq!(slow.try_recv().unwrap().monotonic_ns, 2);
        assert!(slow.try_recv().is_err());
        send(&mut hub, 6);
        let told = slow.try_recv().unwrap();
        let Some(Kind::Loss(loss)) = &told.event else {
            panic!("the loss comes first, got {told:?}");
        };
        assert_eq!((loss.reason.as_str(), loss.count), (SUBSCRIBER_SLOW, 3));
        assert_eq!(slow.try_recv().unwrap().monotonic_ns, 6);
    }

    #[test]
    fn a_loss_is_told_without_a_further_event() {
        let mut hub = Hub::new(anchor(), 1, 4);
        let mut slow = hub.subscribe(Filter::default(), Vec::new()).unwrap();
        send(&mut hub, 1);
        send(&mut hub, 2);
        hub.flush(3).unwrap();
        assert_eq!(slow.try_recv().unwrap().monotonic_ns, 1);
        assert!(slow.try_recv().is_err());
        hub.flush(4).unwrap();
        assert!(matches!(
            slow.try_recv().unwrap().event,
            Some(Kind::Loss(_))
        ));
    }

    #[test]
    fn the_gone_make_room() {
        let mut hub = Hub::new(anchor(), 1, 1);
        let first = hub.subscribe(Filter::default(), Vec::new()).unwrap();
        assert!(hub.subscribe(Filter::default(), Vec::new()).is_none());
        drop(first);
        assert!(hub.is_empty());
        assert!(hub.subscribe(Filter::default(), Vec::new()).is_some());
    }

    #[test]
    fn nothing_is_converted_for_nobody() {
        let mut hub = Hub::new(anchor(), 1, 1);
        let event = Event {
            monotonic_ns: 1,
            kind: EventKind::RequestFinished(Arc::new(testing::finished())),
        };
        let mut pending = Pending::new(&event, anchor());
        hub.event(&mut pending).unwrap();
        assert!(pending.wire.is_none());
    }
}
