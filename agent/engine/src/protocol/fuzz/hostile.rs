//! Peers that do not play along, on every protocol: what a session tells, and what it keeps.

use super::super::client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, Finding, OPEN_LIMIT};
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
            Finding::Asked { .. } => *open += 1,
            Finding::Answered { .. } => *open = open.checked_sub(1).expect("an answer to nothing"),
            Finding::Missed => *missed = true,
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
            let mut session = protocol.session();
            let (mut open, mut missed, mut most) = (0, false, 0);
            let mut found = Vec::new();
            let (mut kept, mut silent) = (0, false);
            let mut total = 0;
            while total < 3 * OPEN_LIMIT / 2 {
                total += asks;
                let info =
                    allocation_counter::measure(|| session.written(whole(&write), &mut found));
                kept += info.bytes_current;
                count(&found, &mut open, &mut missed);
                // Commands that no server answers.
                silent |= !missed && found.iter().any(|f| matches!(f, Finding::Answered { .. }));
                // What was handed on is not the session's.
                let handed_on = std::mem::take(&mut found);
                kept -= i64::try_from(size_of::<Finding>() * handed_on.capacity()).unwrap();
                kept -= handed_on
                    .iter()
                    .map(|finding| match finding {
                        Finding::Asked { shape } => shape.capacity() as i64,
                        _ => 0,
                    })
                    .sum::<i64>();
                most = most.max(open);
            }
            assert!(most <= OPEN_LIMIT, "{name}: {most} are open");
            assert!(
                missed || silent,
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
