//! Random and mutated inputs, from fixed seeds: the engine never panics, and its tables stay
//! within their bounds.

mod support;

use std::collections::BTreeMap;

use support::{Exchange, Kernel};
use whyslow_abi::{plain_bytes, record::LifecycleKind, thread::ThreadSlot};
use whyslow_engine::{Engine, EventKind, Input, Output, Settings, redact::Redactor};

/// xorshift64*: deterministic, good enough to choose bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

const PAYLOADS: &[&str] = &[
    "GET / HTTP/1.1\r\n\r\n",
    "GET /a/1?x=y HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
    "POST /p HTTP/1.1\r\nContent-Length: 30\r\n\r\nabc",
    "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "lo\r\n0\r\n\r\nGET /d HTTP/1.1\r\n\r\n",
    "GET /cut HTTP/1.1\r\nHo",
    "GET nonsense\r\n",
    "\r\n",
];

const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 500 No\r\n\r\n",
    "0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "text",
];

const TO_SERVERS: &[&[u8]] = &[
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI",
    b"Q\0\0\0\x0dselect 1\0",
    b"P\0\0\0\x10\0select 1\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04",
    b"get k\r\nset k 0 0 3\r\nabc\r\n",
    b"\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"garbage",
];

const FROM_SERVERS: &[&[u8]] = &[
    b"$1\r\nv\r\n",
    b"+PONG\r\n-ERR no\r\n",
    b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
    b"VALUE k 0 1\r\nx\r\nEND\r\nSTORED\r\n",
    b"\x81\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\0\0\0",
];

fn settings() -> Settings {
    Settings {
        max_routes: 20,
        max_in_flight: 50,
        ..Settings::default()
    }
}

/// One random thing that threads do.
fn act(kernel: &mut Kernel, random: &mut Random, now: u64) {
    let tid = 100 + random.below(8) as u32;
    let tgid = 100 + (tid - 100) / 4 * 4;
    let id = 1 + random.below(200);
    kernel.advance(tid, tgid, now, &BTreeMap::new());
    let open = kernel.connections.contains_key(&id);
    match random.below(26) {
        0..=8 => {
            let payload = PAYLOADS[random.below(PAYLOADS.len() as u64) as usize];
            let more = (random.below(4) / 3 * 500) as usize;
            let bytes = payload.as_bytes();
            kernel.read(
                tid,
                now,
                id,
                random.below(30) as i32,
                bytes,
                bytes.len() + more,
            );
        }
        9..=14 if open => {
            let payload = RESPONSES[random.below(RESPONSES.len() as u64) as usize];
            kernel.write(tid, now, id, payload.as_bytes(), payload.len());
        }
        15 | 16 if open => kernel.close(tid, now, id),
        17 if open => kernel.client_gone(id, random.below(2) == 0),
        20..=25 => {
            let written = random.below(2) == 0;
            let bytes = if written { TO_SERVERS } else { FROM_SERVERS };
            let exchange = Exchange {
                server: random.below(12),
                written,
                front: bytes[random.below(bytes.len() as u64) as usize],
                more: (random.below(5) / 4 * 700) as usize,
                tail: b"",
                spent: random.below(50) == 0,
            };
            kernel.exchange(tid, now, &exchange);
        }
        18 => {
            let events = LifecycleKind::ALL;
            let event = events[random.below(events.len() as u64) as usize];
            let mut record = kernel.lifecycle(event, tid, now);
            record.last = random.below(2) as u32;
            record.code = random.below(20) as u32;
            kernel.send_lifecycle(&record);
        }
        _ => kernel.signal(1, tgid, 9, now),
    }
}

/// Changes a record at random: bits, or its length.
fn mutate(random: &mut Random, record: &mut Vec<u8>) {
    match random.below(10) {
        0 => record.truncate(random.below(record.len() as u64 + 1) as usize),
        1 => record.extend_from_slice(&[0xff; 40]),
        2..=4 => {
            for _ in 0..random.below(8) {
                let len = record.len() as u64;
                if len > 0 {
                    record[random.below(len) as usize] = random.next() as u8;
                }
            }
        }
        // The fields in front: times, ids, numbers.
        5 => {
            let at = 8 * random.below(12) as usize;
            if let Some(field) = record.get_mut(at..at + 8) {
                field.copy_from_slice(&u64::MAX.to_le_bytes());
            }
        }
        _ => {}
    }
}

fn check_bounds(engine: &Engine, seed: u64) {
    let stats = engine.stats();
    assert!(stats.in_flight <= 50, "seed {seed}: {stats:?}");
    assert!(stats.threads <= 65_536 && stats.processes <= 16_384);
    assert!(engine.routes(u64::MAX / 2, 600).routes.len() <= 21);
}

/// Answers what the engine asks, as well or badly as chance has it.
fn answer(engine: &mut Engine, kernel: &Kernel, random: &mut Random, out: &mut Vec<Output>) {
    for output in std::mem::take(out) {
        let Output::Query(query) = output else {
            continue;
        };
        if let whyslow_engine::Query::Connection { id } = query {
            let state = kernel.connections.get(&id).map(|state| {
                let mut bytes = plain_bytes(state).to_vec();
                mutate(random, &mut bytes);
                bytes
            });
            engine.step(Input::Connection { id, state }, out);
        }
    }
    out.clear();
}

#[test]
fn mutated_streams_do_no_harm() {
    for seed in 1..=12_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9));
        let mut kernel = Kernel::default();
        let mut engine = Engine::new(settings());
        let mut replayed = Engine::new(settings());
        let mut redactor = Redactor::new();
        let mut out = Vec::new();
        for n in 0..2_000_u64 {
            let now = n * 3_000_000;
            act(&mut kernel, &mut random, now);
            for mut record in kernel.take() {
                mutate(&mut random, &mut record);
                let mut redacted = record.clone();
                redactor.redact(&mut redacted);
                assert_eq!(redacted.len(), record.len());
                let mut kept = Input::Record(record.clone());
                redactor.redact_input(&mut kept);
                replayed.step(kept, &mut out);
                engine.step(Input::Record(record), &mut out);
            }
            if n % 40 == 0 {
                engine.step(Input::Tick { now_ns: now }, &mut out);
                answer(&mut engine, &kernel, &mut random, &mut out);
                let mut slot = vec![0; size_of::<ThreadSlot>()];
                mutate(&mut random, &mut slot);
                engine.step(
                    Input::Thread {
                        tid: 100,
                        slot: Some(slot),
                        wait: None,
                    },
                    &mut out,
                );
                check_bounds(&engine, seed);
                let _ = (engine.in_flight(now), engine.workers(now), engine.losses());
            }
        }
        engine.finish(&mut out);
        assert_eq!(engine.stats().in_flight, 0, "seed {seed}");
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random(99);
    let mut engine = Engine::new(settings());
    let mut redactor = Redactor::new();
    let mut out = Vec::new();
    for n in 0..20_000_u64 {
        let mut bytes = vec![0; random.below(2_400) as usize];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
        }
        if bytes.len() > 40 {
            bytes[8..12].copy_from_slice(&(random.below(7) as u32).to_le_bytes());
            bytes[32..36].copy_from_slice(&(random.below(9) as u32).to_le_bytes());
        }
        redactor.redact(&mut bytes.clone());
        engine.step(Input::Record(bytes), &mut out);
        out.clear();
        if n % 100 == 0 {
            engine.step(Input::Tick { now_ns: n << 20 }, &mut out);
            check_bounds(&engine, n);
        }
    }
    engine.finish(&mut out);
    check_bounds(&engine, 0);
    assert!(
        engine
            .losses()
            .iter()
            .any(|(reason, count)| *reason == "unknown_record" && *count > 0)
    );
}

/// Without loss every request that the stand-in kernel began is finished exactly once.
#[test]
fn every_request_of_a_clean_stream_is_told_once() {
    let mut kernel = Kernel::default();
    let mut engine = Engine::new(Settings::default());
    let mut out = Vec::new();
    let mut random = Random(5);
    let total = 20_000_u64;
    for n in 0..total {
        let now = n * 1_000_000;
        let tid = 100 + (n % 16) as u32;
        let id = 1 + n % 16;
        kernel.advance(tid, 100, now, &BTreeMap::new());
        let path = format!("GET /p/{n} HTTP/1.1\r\nHost: h\r\n\r\n");
        kernel.read(tid, now, id, id as i32, path.as_bytes(), path.len());
        kernel.advance(tid, 100, now + 500_000, &BTreeMap::new());
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        kernel.write(tid, now + 500_000, id, response, response.len());
        if random.below(10) == 0 {
            kernel.close(tid, now + 500_000, id);
        }
        for record in kernel.take() {
            engine.step(Input::Record(record), &mut out);
        }
    }
    engine.step(
        Input::Tick {
            now_ns: total * 1_000_000 + 1_000_000_000,
        },
        &mut out,
    );
    answer_all(&mut engine, &kernel, &mut out);
    let finished: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Event(event) => match &event.kind {
                EventKind::RequestFinished(finished) => Some(finished),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(finished.len() as u64, total);
    assert!(
        finished
            .iter()
            .all(|f| f.wall_ns == 500_000 && f.status == 200)
    );
    assert!(engine.losses().is_empty(), "{:?}", engine.losses());
    assert_eq!(engine.stats().in_flight, 0);
}

fn answer_all(engine: &mut Engine, kernel: &Kernel, out: &mut Vec<Output>) {
    let mut at = 0;
    while at < out.len() {
        if let Output::Query(whyslow_engine::Query::Connection { id }) = out[at] {
            let state = kernel.connections.get(&id).map(|s| plain_bytes(s).to_vec());
            engine.step(Input::Connection { id, state }, out);
        }
        at += 1;
    }
}
