//! SQL of every dialect: texts that no server would take.

use super::super::{
    client::SHAPE_LIMIT,
    sql::{Dialect, STATEMENT_LIMIT, shape, statements},
};
use super::{Random, check_text, corpus::folder, mutate, rounds, seed, tells_secret};

const DIALECTS: [Dialect; 5] = [
    Dialect::POSTGRESQL,
    Dialect::POSTGRESQL.with_backslash(true),
    Dialect::MYSQL,
    Dialect::MYSQL.with_backslash(false),
    Dialect::SQLITE,
];

/// One statement on each line.
fn corpus() -> Vec<Vec<u8>> {
    folder("sql")
        .iter()
        .flat_map(|(_, text)| text.lines())
        .map(|line| line.as_bytes().to_vec())
        .collect()
}

fn try_text(dialect: Dialect, text: &[u8], complete: bool) -> Vec<String> {
    let what = || format!("{dialect:?} {:?}", String::from_utf8_lossy(text));
    let one = shape(dialect, text, complete);
    assert!(one.len() <= SHAPE_LIMIT, "{}", what());
    let shapes = statements(dialect, text, complete).shapes;
    assert!(
        shapes.len() <= STATEMENT_LIMIT.min(text.len() + 1),
        "{}",
        what()
    );
    for shape in &shapes {
        check_text(shape, SHAPE_LIMIT, &what);
    }
    let info = allocation_counter::measure(|| {
        std::hint::black_box(shape(dialect, text, complete));
    });
    assert!(
        info.bytes_max < 16 << 10,
        "{} bytes: {}",
        info.bytes_max,
        what()
    );
    shapes
}

#[test]
fn mutated_statements_do_no_harm() {
    let corpus = corpus();
    for seed in seed()..seed() + rounds(5_000) {
        let mut random = Random::new(seed);
        let mut text = corpus[random.below(corpus.len())].clone();
        if random.once_in(3) {
            text.push(b';');
            text.extend(&corpus[random.below(corpus.len())]);
        }
        mutate::bytes(&mut random, &mut text);
        for dialect in DIALECTS {
            try_text(dialect, &text, random.once_in(2));
        }
    }
}

/// The corpus is PostgreSQL's; the secret is in literals and comments only.
#[test]
fn no_secret_is_told_wherever_a_statement_is_cut() {
    for text in corpus() {
        for at in 0..=text.len() {
            let shapes = try_text(Dialect::POSTGRESQL, &text[..at], at == text.len());
            let shapes = shapes.join("; ");
            assert!(!tells_secret(&shapes), "{at}: {shapes}");
        }
    }
}
