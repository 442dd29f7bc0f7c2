//! Tests of the table of listeners.

use super::*;
use crate::input::ListenerFact;

const SECOND: u64 = 1_000_000_000;

fn queue(ns: u64, queued: u32) -> Queue {
    Queue {
        accept_queue_ns: Some(ns),
        queued,
        limit: 128,
        ..Queue::default()
    }
}

fn fact(inodes: &[u64], length: u32, overflows: u64) -> ListenersFact {
    ListenersFact {
        listeners: inodes
            .iter()
            .map(|inode| ListenerFact {
                inode: *inode,
                address: format!("127.0.0.1:{}", 8_000 + inode),
                port: 8_000 + *inode as u16,
                length,
            })
            .collect(),
        overflows,
        drops: overflows + 1,
    }
}

fn told(table: &Listeners, now_ns: u64) -> Vec<Listener> {
    table.view(now_ns, 60, |pid| format!("p{pid}")).listeners
}

#[test]
fn connections_count_once_their_listener_is_known() {
    let mut table = Listeners::new(0);
    assert!(table.accepted(7, 8_001, &queue(5_000_000, 3), SECOND));
    assert!(
        !table.accepted(7, 8_001, &queue(7_000_000, 2), SECOND),
        "it was asked for"
    );
    assert!(told(&table, SECOND).is_empty());
    table.found(7, Some(&fact(&[1, 2], 4, 10)), SECOND);
    assert!(!table.accepted(7, 8_001, &queue(9_000_000, 9), SECOND));
    // One that is no listener of the process counts nowhere.
    assert!(!table.accepted(7, 9_999, &queue(9_000_000, 9), SECOND));
    let told = told(&table, 2 * SECOND);
    assert_eq!(told.len(), 2);
    let (first, second) = (&told[0], &told[1]);
    assert_eq!(
        (&*first.address, &*first.comm, first.pid),
        ("127.0.0.1:8001", "p7", 7)
    );
    assert_eq!((first.length, first.limit, first.max_length), (4, 128, 9));
    assert_eq!(first.accept_queue_known, 3);
    assert_eq!(first.accept_queue_max_ns, 9_000_000);
    assert_eq!((second.limit, second.max_length), (0, 4));
    assert_eq!((first.overflows, first.drops), (0, 0), "those of before");
}

#[test]
fn overflows_are_those_since_the_first_look() {
    let mut table = Listeners::new(0);
    table.found(7, Some(&fact(&[1], 0, 10)), SECOND);
    table.found(7, Some(&fact(&[1], 2, 13)), 2 * SECOND);
    table.found(7, Some(&fact(&[1], 1, 14)), 3 * SECOND);
    let told = told(&table, 4 * SECOND);
    assert_eq!((told[0].overflows, told[0].drops), (4, 4));
    assert_eq!((told[0].length, told[0].max_length), (1, 2));
}

#[test]
fn an_upper_bound_is_not_among_the_times() {
    let mut table = Listeners::new(0);
    table.found(7, Some(&fact(&[1], 0, 0)), SECOND);
    let bound = Queue {
        unknown: "an upper bound",
        ..queue(5_000_000, 1)
    };
    table.accepted(7, 8_001, &bound, SECOND);
    let told = told(&table, SECOND);
    assert_eq!((told[0].accept_queue_known, told[0].max_length), (0, 1));
    assert!(told[0].accepted_per_s > 0.0);
}

#[test]
fn one_process_is_asked_for_a_shared_listener() {
    let mut table = Listeners::new(0);
    table.found(7, Some(&fact(&[1], 0, 0)), SECOND);
    table.found(8, Some(&fact(&[1], 0, 0)), SECOND);
    assert_eq!(table.tick(30 * SECOND), [7]);
    assert!(table.tick(40 * SECOND).is_empty(), "not yet");
    table.found(7, None, 40 * SECOND);
    assert_eq!(table.to_ask(), [8]);
    assert_eq!(table.tick(60 * SECOND), [8]);
    table.ended(8);
    assert!(table.to_ask().is_empty());
    assert_eq!(told(&table, 60 * SECOND).len(), 1);
    table.tick(130 * SECOND);
    assert!(told(&table, 130 * SECOND).is_empty(), "it is gone");
}

#[test]
fn the_table_is_bounded() {
    let mut table = Listeners::new(0);
    let inodes: Vec<u64> = (0..2 * LIMIT as u64).collect();
    table.found(7, Some(&fact(&inodes, 0, 0)), SECOND);
    assert_eq!(told(&table, SECOND).len(), LIMIT);
    let mut asked = 0;
    for pid in 100..1_000 {
        asked += usize::from(table.accepted(pid, 1, &queue(1, 1), SECOND));
    }
    assert_eq!(asked, WAITING);
}
