//! Peers that do not play along, on every protocol: what a session tells, and what it keeps.

use super::super::client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, Finding, OPEN_LIMIT, Session};
use super::{Step, corpus::conversations};

fn whole(bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        front: bytes,
        tail: b"",
        len: bytes.len() as u64,
    }
}

/// How many are open, as whoever takes the findings counts them.
fn count(found: &[Finding], open: &mut u64, missed: &mut bool) {
    for finding in found {
        match finding {
            Finding::Asked { .. } | Finding::Begun { .. } => *open += 1,
            Finding::Answered { .. } | Finding::AnsweredAt { .. } | Finding::AnsweredBefore => {
                *open = open.checked_sub(1).expect("an answer to nothing");
            }
            Finding::Missed => *missed = true,
            Finding::Answering { .. } | Finding::RowsEstimated | Finding::ReadInPart => {}
            Finding::NotUnderstood | Finding::Several => {}
            Finding::Encrypted => *open = 0,
        }
    }
}

/// The write with the most operations, and how many those are.
fn busiest(protocol: &dyn ClientProtocol, steps: &[Step]) -> (Vec<u8>, u64) {
    let mut busiest = (Vec::new(), 0);
    let mut session = protocol.session();
    for step in steps {
        let mut found = Vec::new();
        match step {
            Step::Written(bytes) => session.written(whole(bytes), &mut found),
            Step::Read(bytes) => session.read(whole(bytes), &mut found),
            Step::Gap => session.gap(&mut found),
        }
        let asks = found.iter().filter(|f| matches!(f, Finding::Asked { .. }));
        let asks = asks.count() as u64;
        if let Step::Written(bytes) = step
            && asks > busiest.1
        {
            busiest = (bytes.clone(), asks);
        }
    }
    busiest
}

/// More operations than are followed, that nobody answers: those that are open are bounded, and so is what is kept of them;
/// that some are not followed is told, and afterwards all that is open is what the session says.
#[test]
fn operations_that_are_never_answered() {
    for protocol in CLIENT_PROTOCOLS {
        for (name, steps) in conversations(protocol.name()) {
            let (write, asks) = busiest(*protocol, &steps);
            assert!(asks > 0, "{name}: nothing was asked for");
            let mut session = protocol.session();
            let (mut open, mut missed, mut most) = (0, false, 0);
            let mut found = Vec::new();
            let (mut kept, mut silent, mut asked) = (0, false, 0);
            let mut total = 0;
            while total < 3 * OPEN_LIMIT / 2 {
                total += asks;
                let info =
                    allocation_counter::measure(|| session.written(whole(&write), &mut found));
                kept += info.bytes_current;
                count(&found, &mut open, &mut missed);
                asked += found
                    .iter()
                    .filter(|f| matches!(f, Finding::Asked { .. }))
                    .count() as u64;
                // Commands that no server answers.
                silent |= !missed && found.iter().any(|f| matches!(f, Finding::Answered { .. }));
                // What was handed on is not the session's.
                let handed_on = std::mem::take(&mut found);
                kept -= i64::try_from(size_of::<Finding>() * handed_on.capacity()).unwrap();
                kept -= handed_on
                    .iter()
                    .map(|finding| match finding {
                        Finding::Asked { shape } | Finding::Begun { shape } => {
                            shape.capacity() as i64
                        }
                        _ => 0,
                    })
                    .sum::<i64>();
                most = most.max(open);
            }
            assert!(most <= OPEN_LIMIT, "{name}: {most} are open");
            assert!(
                missed || silent || asked <= OPEN_LIMIT,
                "{name}: {most} are open, and nothing is missing"
            );
            assert!(kept < 1 << 20, "{name}: {kept} bytes are kept");
            found.clear();
            session.gap(&mut found);
            count(&found, &mut open, &mut missed);
            assert_eq!(
                open, 0,
                "{name}: what is open to others is not to the session"
            );
        }
    }
}

/// A length of half a gibibyte wherever a message may have one, and then bytes without end: they are passed
/// over, not kept.
#[test]
fn bytes_without_end() {
    let filler = vec![b'x'; 64 << 10];
    for protocol in CLIENT_PROTOCOLS {
        let (name, steps) = conversations(protocol.name()).swap_remove(0);
        for (at, step) in steps.iter().enumerate().take(4) {
            let (Step::Written(bytes) | Step::Read(bytes)) = step else {
                continue;
            };
            for cut in 0..bytes.len().min(10) {
                for length in [&(1_u32 << 29).to_be_bytes()[..], b"536870000\r\n"] {
                    let front = [&bytes[..cut], length].concat();
                    let parts = std::iter::once(&front).chain(std::iter::repeat_n(&filler, 20));
                    let info = allocation_counter::measure(|| {
                        let mut session = protocol.session();
                        for before in &steps[..at] {
                            feed(&mut *session, before, None);
                        }
                        for part in parts {
                            feed(&mut *session, step, Some(part));
                        }
                    });
                    let most = info.bytes_max;
                    assert!(
                        most < 1 << 20,
                        "{name}: {most} bytes, transfer {at} cut at {cut}"
                    );
                }
            }
        }
    }
}

/// Has a session see a step, or other bytes that go the same way; what it finds is dropped.
fn feed(session: &mut dyn Session, step: &Step, bytes: Option<&[u8]>) {
    let mut found = Vec::new();
    match step {
        Step::Written(own) => session.written(whole(bytes.unwrap_or(own)), &mut found),
        Step::Read(own) => session.read(whole(bytes.unwrap_or(own)), &mut found),
        Step::Gap => session.gap(&mut found),
    }
}
