//! Statements as sent, for users who want their literals. Only [`Dialect::with_literals`] leads here.

use super::{super::client::cut_at_limit, Dialect, shaper::Shaper};

/// The shape of a statement, or its text where the user wants that; empty: there is no statement.
pub(super) fn told(dialect: Dialect, shaper: Shaper, text: &[u8], cut: bool) -> String {
    if dialect.literals && (cut || !shaper.is_empty()) {
        return as_sent(text, !cut);
    }
    shaper.finish(cut)
}

/// The text without the blanks around it and the semicolons at its end, cut at the limit.
pub(super) fn as_sent(text: &[u8], complete: bool) -> String {
    let ends = |byte: u8| byte.is_ascii_whitespace() || byte == b';';
    let text = text.trim_ascii_start();
    let end = text.iter().rposition(|byte| !ends(*byte));
    let text = text.get(..end.map_or(0, |end| end + 1)).unwrap_or(text);
    cut_at_limit(text, complete)
}

#[cfg(test)]
mod tests {
    use super::super::{SHAPE_LIMIT, shape, statements};
    use super::*;

    const DIALECTS: [Dialect; 3] = [Dialect::POSTGRESQL, Dialect::MYSQL, Dialect::SQLITE];

    #[test]
    fn statements_as_sent_where_the_user_wants_that() {
        for dialect in DIALECTS.map(|dialect| dialect.with_literals(true)) {
            let all = |text: &str| statements(dialect, text.as_bytes(), true).shapes;
            assert_eq!(
                all(" select 1, 'a;b' ; ; select  /* why */ 2;\n"),
                ["select 1, 'a;b'", "select  /* why */ 2"]
            );
            assert_eq!(shape(dialect, b"select 'x' ; ", true), "select 'x'");
            // What is not whole says so, and the literals that are there stay.
            assert_eq!(
                statements(dialect, b"select 1; select 'ab", false).shapes,
                ["select 1", "select 'ab..."]
            );
        }
        let dialect = Dialect::POSTGRESQL.with_literals(true);
        let long = format!("select '{}'", "\u{e9}".repeat(2_000));
        let told = shape(dialect, long.as_bytes(), true);
        assert!(
            told.len() <= SHAPE_LIMIT && told.ends_with("\u{e9}..."),
            "{told}"
        );
        let exact = "x".repeat(SHAPE_LIMIT);
        assert_eq!(shape(dialect, exact.as_bytes(), true), exact);
        assert!(shape(dialect, &[0xff; 9_000], true).len() <= SHAPE_LIMIT);
        // As many statements as without.
        for text in [
            "",
            ";;",
            "-- nothing\n",
            "select 1; -- end",
            "begin; select 'a'; commit",
        ] {
            let with = statements(dialect, text.as_bytes(), true).shapes.len();
            let without = statements(Dialect::POSTGRESQL, text.as_bytes(), true)
                .shapes
                .len();
            assert_eq!(with, without, "{text:?}");
        }
    }
}
