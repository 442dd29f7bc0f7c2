//! The server's side: heads of requests and responses, and where bodies end.

use super::super::{
    BodyFraming, Recognised, SERVER_PROTOCOLS,
    body::{BodyTracker, ChunkDecoder},
};
use super::{Random, Step, corpus::conversations, mutate, rounds, seed};

/// Heads in a corpus are what was written (requests) and read (responses).
fn corpus() -> Vec<(bool, Vec<u8>)> {
    let steps = conversations("http_server")
        .into_iter()
        .flat_map(|(_, steps)| steps);
    steps
        .filter_map(|step| match step {
            Step::Written(bytes) => Some((true, bytes)),
            Step::Read(bytes) => Some((false, bytes)),
            Step::Gap => None,
        })
        .collect()
}

fn try_request(bytes: &[u8]) {
    for protocol in SERVER_PROTOCOLS {
        let recognised = protocol.recognise(bytes);
        let end = protocol.head_end(bytes, 0);
        // Where the head ends does not depend on where the search was begun again.
        for at in 0..bytes.len() {
            if protocol.head_end(&bytes[..at], 0).is_none() {
                assert_eq!(protocol.head_end(bytes, at), end, "{at}: {bytes:?}");
            }
        }
        if recognised != Recognised::Yes {
            continue;
        }
        let head = protocol.request(&bytes[..end.unwrap_or(bytes.len())], end.is_some());
        let within = |part: &[u8]| part.is_empty() || bytes.windows(part.len()).any(|w| w == part);
        for part in [head.method, head.target, head.host, head.traceparent] {
            assert!(within(part), "{part:?} of {bytes:?}");
        }
        assert!(!head.host.contains(&b'@'), "{bytes:?}");
        let from = end.unwrap_or(bytes.len());
        let mut body = BodyTracker::new(from as u64, head.body);
        body.feed(from as u64, &bytes[from..]);
        let read = bytes.len() as u64;
        assert!(body.end().is_none_or(|end| end >= from as u64), "{bytes:?}");
        if head.body == BodyFraming::Chunked && body.complete(read) == Some(true) {
            assert!(body.end().is_some_and(|end| end <= read), "{bytes:?}");
        }
    }
}

fn try_response(bytes: &[u8]) {
    for protocol in SERVER_PROTOCOLS {
        if let Some(head) = protocol.response(bytes) {
            assert!((100..=999).contains(&head.status), "{bytes:?}");
            let within = |len: u64| len <= bytes.len() as u64;
            assert!(head.head_len.is_none_or(within), "{bytes:?}");
        }
    }
}

/// In one piece and in several, a chunked body ends at the same byte.
fn try_chunks(bytes: &[u8], random: &mut Random) {
    let mut whole = ChunkDecoder::default();
    let end = whole.feed(bytes);
    let mut split = ChunkDecoder::default();
    let mut fed = 0;
    while fed < bytes.len() && !split.is_done() && !split.is_broken() {
        let to = (fed + 1 + random.below(9)).min(bytes.len());
        fed += split.feed(&bytes[fed..to]).max(1);
    }
    assert_eq!(whole.is_done(), split.is_done(), "{bytes:?}");
    assert_eq!(whole.is_broken(), split.is_broken(), "{bytes:?}");
    if whole.is_done() {
        assert_eq!(end, fed, "{bytes:?}");
    }
}

#[test]
fn mutated_heads_and_bodies_do_no_harm() {
    let corpus = corpus();
    for seed in seed()..seed() + rounds(4_000) {
        let mut random = Random::new(seed);
        let (is_request, mut bytes) = corpus[random.below(corpus.len())].clone();
        if !random.once_in(20) {
            mutate::bytes(&mut random, &mut bytes);
        }
        bytes.truncate(2_000);
        if is_request {
            try_request(&bytes);
        } else {
            try_response(&bytes);
        }
        let head = super::super::http::head_end(&bytes, 0);
        try_chunks(&bytes[head.unwrap_or(0)..], &mut random);
    }
}

#[test]
fn real_heads_are_understood() {
    for (is_request, bytes) in corpus() {
        let text = String::from_utf8_lossy(&bytes);
        for protocol in SERVER_PROTOCOLS {
            if is_request {
                assert_eq!(protocol.recognise(&bytes), Recognised::Yes, "{text}");
            } else {
                assert!(protocol.response(&bytes).is_some(), "{text}");
            }
        }
    }
}
