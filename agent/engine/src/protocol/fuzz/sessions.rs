//! Every protocol that clients speak: whole sessions, cut as the kernel side cuts them.

use std::ops::Range;

use super::super::{
    Recognised,
    client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, ERROR_LIMIT, Finding, SHAPE_LIMIT, Session},
};
use super::{
    Conversation, Random, Step, check_text,
    corpus::{conversations, print},
    mutate, rounds, seed, tells_secret,
};

/// Bytes that a session may keep.
const MEMORY: u64 = 1 << 20;

/// Which bytes of a step of so many go into each chunk, and how many of the chunk's first and last bytes are
/// captured.
type Cuts = Vec<(Range<usize>, usize, usize)>;

fn whole(len: usize) -> Cuts {
    // A transfer of nothing is not told.
    let all = (0..len, len, 0);
    if len > 0 { vec![all] } else { Vec::new() }
}

/// At random places; `holes`: the middle of some is missing.
fn cuts(random: &mut Random, len: usize, holes: bool) -> Cuts {
    let mut cuts = Vec::new();
    let mut from = 0;
    let size = [1, 5, 30, 200, 2_000, 20_000][random.below(6)];
    while from < len {
        let to = (from + 1 + random.below(size)).min(len);
        let part = to - from;
        let (front, tail) = if holes && random.once_in(3) {
            (random.below(part + 1), random.below(part + 1))
        } else {
            (part, 0)
        };
        cuts.push((from..to, front, tail));
        from = to;
    }
    cuts
}

/// What the findings of a run say.
#[derive(Debug, Default)]
struct Tally {
    findings: Vec<Finding>,
    asked: u64,
    answered: u64,
    /// Bytes of the client that were captured.
    captured: u64,
}

impl Tally {
    /// Takes what one chunk gave. `what` is printed when it cannot be.
    fn take(&mut self, from: usize, what: &dyn Fn() -> String) {
        for finding in &self.findings[from..] {
            match finding {
                Finding::Asked { shape } | Finding::Begun { shape } => {
                    self.asked += 1;
                    check_text(shape, SHAPE_LIMIT, what);
                }
                Finding::AnsweredAt { index, .. } => {
                    assert!((*index as u64) < self.asked - self.answered, "{}", what());
                    self.answered += 1;
                }
                Finding::Answered { .. } | Finding::AnsweredBefore => self.answered += 1,
                // What is open is not followed any more.
                Finding::Encrypted => self.answered = self.asked,
                Finding::Answering { .. } | Finding::RowsEstimated | Finding::ReadInPart => {}
                Finding::Missed | Finding::NotUnderstood | Finding::Several => {}
            }
            if let Finding::Answered { error, .. }
            | Finding::AnsweredAt { error, .. }
            | Finding::Answering { error, .. } = finding
                && let Some(error) = error
            {
                check_text(error, ERROR_LIMIT, what);
            }
            assert!(
                self.answered <= self.asked,
                "answers to nothing\n{}",
                what()
            );
        }
        // No protocol has a command that is shorter than a byte.
        assert!(
            self.asked <= self.captured,
            "operations from nothing\n{}",
            what()
        );
    }
}

/// Has a session see a conversation.
fn drive(
    session: &mut dyn Session,
    steps: &[Step],
    mut cut: impl FnMut(usize) -> Cuts,
    what: &dyn Fn() -> String,
) -> Tally {
    let mut tally = Tally::default();
    for step in steps {
        let (bytes, writes) = match step {
            Step::Written(bytes) => (bytes, true),
            Step::Read(bytes) => (bytes, false),
            Step::Gap => {
                let from = tally.findings.len();
                session.gap(&mut tally.findings);
                tally.take(from, what);
                assert_eq!(tally.asked, tally.answered, "left open\n{}", what());
                continue;
            }
        };
        for (range, front, tail) in cut(bytes.len()) {
            let part = &bytes[range];
            let chunk = Chunk {
                front: &part[..front],
                tail: &part[part.len() - tail..],
                len: part.len() as u64,
            };
            let from = tally.findings.len();
            if writes {
                tally.captured += (front + tail) as u64;
                session.written(chunk, &mut tally.findings);
            } else {
                session.read(chunk, &mut tally.findings);
            }
            tally.take(from, what);
            if tally.findings.last() == Some(&Finding::Encrypted) {
                // Another session takes over.
                return tally;
            }
        }
    }
    tally
}

/// Shapes, answers, both in their order: what must not depend on where bytes were split.
fn sequences(findings: &[Finding]) -> (Vec<&Finding>, Vec<&Finding>) {
    let asks =
        |finding: &&Finding| matches!(finding, Finding::Asked { .. } | Finding::Begun { .. });
    // A part of an answer is told for each transfer.
    let parts = |finding: &&Finding| matches!(finding, Finding::Answering { .. });
    findings.iter().filter(|f| !parts(f)).partition(asks)
}

/// Whether it matters where transfers begin and end: datagrams, or round trips of what cannot be read.
fn is_split_by_transfers(protocol: &dyn ClientProtocol) -> bool {
    protocol.is_opaque() || protocol.side_by_side().is_some()
}

/// Tries a conversation on a protocol in several ways.
fn try_conversation(protocol: &dyn ClientProtocol, steps: &[Step], random: &mut Random) {
    let origin = random.clone();
    let what = || format!("{} {origin:?}\n{}", protocol.name(), print(steps));
    let expected = drive(&mut *protocol.session(), steps, whole, &what);
    let split = |len| cuts(random, len, false);
    let found = drive(&mut *protocol.session(), steps, split, &what);
    // Where something was missed, it matters where the next write begins.
    let mut all = expected.findings.iter().chain(&found.findings);
    // So it does where the end of an answer is guessed from where a read ended.
    let missed = all.any(|finding| {
        matches!(
            finding,
            Finding::Missed | Finding::Answering { .. } | Finding::AnsweredBefore
        )
    });
    // A client of HTTP that breaks its own framing is followed from its next write that looks like a head.
    let begins_anew = protocol.name() == "http";
    if !missed && !begins_anew && !is_split_by_transfers(protocol) {
        assert_eq!(
            sequences(&expected.findings),
            sequences(&found.findings),
            "{}",
            what()
        );
    }
    let split = |len| cuts(random, len, true);
    drive(&mut *protocol.session(), steps, split, &what);
    for step in steps {
        if let Step::Written(bytes) = step {
            let _ = protocol.recognise(bytes);
        }
    }
}

/// Conversations of all protocols.
fn all() -> Vec<Vec<Conversation>> {
    CLIENT_PROTOCOLS
        .iter()
        .map(|protocol| {
            let corpus = conversations(protocol.name());
            corpus.into_iter().map(|(_, steps)| steps).collect()
        })
        .collect()
}

#[test]
fn mutated_conversations_do_no_harm() {
    let corpus = all();
    let others: Vec<&Conversation> = corpus.iter().flatten().collect();
    for seed in seed()..seed() + rounds(1_500) {
        let mut random = Random::new(seed);
        for (protocol, own) in CLIENT_PROTOCOLS.iter().zip(&corpus) {
            let mut steps = own[random.below(own.len())].clone();
            mutate::conversation(&mut random, &mut steps, &others);
            try_conversation(*protocol, &steps, &mut random);
        }
    }
}

#[test]
fn conversations_of_other_protocols_do_no_harm() {
    let corpus = all();
    let mut random = Random::new(seed());
    for protocol in CLIENT_PROTOCOLS {
        for steps in corpus.iter().flatten() {
            for _ in 0..20 {
                try_conversation(*protocol, steps, &mut random);
            }
        }
    }
}

#[test]
fn random_bytes_do_no_harm() {
    for seed in seed()..seed() + rounds(300) {
        let mut random = Random::new(seed);
        let steps: Conversation = (0..10)
            .map(|_| {
                let bytes = (0..random.below(600))
                    .map(|_| random.next() as u8)
                    .collect();
                if random.once_in(2) {
                    Step::Written(bytes)
                } else {
                    Step::Read(bytes)
                }
            })
            .collect();
        for protocol in CLIENT_PROTOCOLS {
            try_conversation(*protocol, &steps, &mut random);
        }
    }
}

/// As it stands in the corpus, all is understood, however the bytes are split.
#[test]
fn real_conversations_are_understood() {
    let mut random = Random::new(seed());
    for protocol in CLIENT_PROTOCOLS {
        for (name, steps) in conversations(protocol.name()) {
            let what = || name.clone();
            let tally = drive(&mut *protocol.session(), &steps, whole, &what);
            assert!(tally.asked > 0, "{name}: nothing was asked for");
            let missed = tally.findings.contains(&Finding::Missed);
            let gaps = steps.contains(&Step::Gap) || is_split_by_transfers(*protocol);
            assert!(gaps || !missed, "{name}: {:#?}", tally.findings);
            for _ in 0..50 {
                let split = |len| cuts(&mut random, len, false);
                let found = drive(&mut *protocol.session(), &steps, split, &what);
                let (expected, found) = (sequences(&tally.findings), sequences(&found.findings));
                assert!(
                    gaps || expected == found,
                    "{name}: {expected:#?} {found:#?}"
                );
            }
        }
    }
}

/// The first write is taken for its protocol, and no front of it for none.
#[test]
fn real_conversations_are_recognised() {
    for protocol in CLIENT_PROTOCOLS {
        for (name, steps) in conversations(protocol.name()) {
            let Some(Step::Written(first)) = steps.first() else {
                continue;
            };
            for at in 0..first.len() {
                let front = protocol.recognise(&first[..at]);
                assert_ne!(front, Recognised::No, "{name}: the first {at} bytes");
            }
            let taken = CLIENT_PROTOCOLS
                .iter()
                .find(|other| other.recognise(first) == Recognised::Yes);
            let taken = taken.map(|protocol| protocol.name());
            assert_eq!(taken, Some(protocol.name()), "{name}");
        }
    }
}

/// Wherever bytes are missing, and however they are split: no literal, key or value is told.
#[test]
fn no_secret_of_a_real_conversation_is_told() {
    let mut random = Random::new(seed());
    for protocol in CLIENT_PROTOCOLS {
        for (name, steps) in conversations(protocol.name()) {
            for round in 0..rounds(300) {
                let mut steps = steps.clone();
                if round % 3 == 0 {
                    let at = random.below(steps.len());
                    steps.insert(at, Step::Gap);
                }
                let split = |len| cuts(&mut random, len, true);
                let what = || format!("{name} {round}");
                let tally = drive(&mut *protocol.session(), &steps, split, &what);
                let text = format!("{:?}", tally.findings);
                assert!(!tells_secret(&text), "{name}, round {round}: {text}");
            }
        }
    }
}

/// Bytes that a conversation makes its session hold at the most, and that it takes over all of it.
fn memory(protocol: &dyn ClientProtocol, steps: &[Step]) -> (u64, u64) {
    let mut found = Vec::with_capacity(1 << 16);
    let info = allocation_counter::measure(|| {
        let mut session = protocol.session();
        for step in steps {
            let bytes = match step {
                Step::Written(bytes) | Step::Read(bytes) => bytes,
                Step::Gap => {
                    session.gap(&mut found);
                    found.clear();
                    continue;
                }
            };
            // Findings are handed on after every transfer: those are small.
            for part in bytes.chunks(512) {
                let chunk = Chunk {
                    front: part,
                    tail: b"",
                    len: part.len() as u64,
                };
                match step {
                    Step::Written(_) => session.written(chunk, &mut found),
                    _ => session.read(chunk, &mut found),
                }
                found.clear();
            }
        }
    });
    (info.bytes_max, info.bytes_total)
}

#[test]
fn memory_is_bounded() {
    let corpus = all();
    let others: Vec<&Conversation> = corpus.iter().flatten().collect();
    for seed in seed()..seed() + rounds(60) {
        let mut random = Random::new(seed);
        for (protocol, own) in CLIENT_PROTOCOLS.iter().zip(&corpus) {
            let mut steps = own[random.below(own.len())].clone();
            mutate::conversation(&mut random, &mut steps, &others);
            // A few transfers of it over and over: a peer that never answers, names without end, ...
            let from = random.below(steps.len());
            let part = &steps[from..(from + 1 + random.below(3)).min(steps.len())];
            let steps: Conversation = part.iter().cloned().cycle().take(400).collect();
            let (most, _) = memory(*protocol, &steps);
            let name = protocol.name();
            assert!(most < MEMORY, "{name}: {most} bytes\n{}", print(part));
        }
    }
}

/// A mebibyte of every transfer, byte by byte: what is done for a byte must not grow with those before it.
/// Time is not looked at, but work that is not linear would take hours here.
#[test]
fn work_is_linear() {
    for protocol in CLIENT_PROTOCOLS {
        for (name, steps) in conversations(protocol.name()).iter().take(2) {
            for at in 0..2 {
                let Some(Step::Written(bytes) | Step::Read(bytes)) = steps.get(at + 2) else {
                    continue;
                };
                let long: Vec<u8> = bytes.iter().copied().cycle().take(1 << 20).collect();
                for writes in [true, false] {
                    let mut session = protocol.session();
                    let mut found = Vec::with_capacity(1 << 16);
                    let info = allocation_counter::measure(|| {
                        for byte in long.chunks(1) {
                            let chunk = Chunk {
                                front: byte,
                                tail: b"",
                                len: 1,
                            };
                            if writes {
                                session.written(chunk, &mut found);
                            } else {
                                session.read(chunk, &mut found);
                            }
                            found.clear();
                        }
                    });
                    let taken = info.bytes_total;
                    assert!(taken < 100 << 20, "{name}: {taken} bytes for a mebibyte");
                }
            }
        }
    }
}
