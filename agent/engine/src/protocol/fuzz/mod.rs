//! Parsers of a stranger's bytes under mutated conversations: one harness per kind of parser, over every
//! entry of the registries and a corpus of real conversations (`agent/engine/tests/corpus`).
//!
//! Each runs a fixed number of rounds from a fixed seed, so that a failure comes again. To search for longer:
//! `WHYSLOW_FUZZ_ROUNDS=100000 WHYSLOW_FUZZ_SEED=7 cargo test -p whyslow-engine fuzz`. What fails is printed
//! as a conversation; as a file in the corpus it is tried in every run from then on.

mod corpus;
mod hostile;
mod mutate;
mod requests;
mod secrets;
mod sessions;
mod sql;

use corpus::{Conversation, Step};
use mutate::Random;

/// The word that stands for every literal, key and value in the corpus.
const SECRET: &str = "zqxjkvwy";

/// Rounds of a test.
fn rounds(default: u64) -> u64 {
    let rounds = std::env::var("WHYSLOW_FUZZ_ROUNDS");
    rounds.map_or(default, |rounds| rounds.parse().unwrap())
}

/// The seed of the first round.
fn seed() -> u64 {
    let seed = std::env::var("WHYSLOW_FUZZ_SEED");
    seed.map_or(1, |seed| seed.parse().unwrap())
}

/// Whether a piece of the secret that is too long for chance is in `text`.
fn tells_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    (0..=SECRET.len() - 4).any(|at| text.contains(&SECRET[at..at + 4]))
}

/// What is shown of strangers' bytes: short, and nothing that a terminal would obey.
fn check_text(text: &str, limit: usize, what: &dyn Fn() -> String) {
    let fits = text.len() <= limit && !text.is_empty() && !text.chars().any(char::is_control);
    assert!(fits, "{text:?}\n{}", what());
}
