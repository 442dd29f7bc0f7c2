//! Texts, names and codes of SQLite.

use super::*;

#[test]
fn texts_become_shapes_without_literals() {
    for (text, expected) in [
        (
            "select \"hunter2\", `b`, [c d] from \"t\" where x = 'hunter2' and y = ?1",
            "select ?, `b`, [c d] from \"t\" where x = ? and y = ?",
        ),
        (
            "insert into t values (:a, @b, $c, x'68756e74657232', 1.5e3)",
            "insert into t values (...)",
        ),
        ("select 1 -- hunter2\n", "select ?"),
        ("select 'it''s hunter2' /* hunter2 */;", "select ?"),
        (
            "delete from t where id in (1, 2, 3)",
            "delete from t where id in (...)",
        ),
    ] {
        assert_eq!(shape(text.as_bytes(), true), expected);
    }
    assert_eq!(shape(b"", true), UNKNOWN);
    assert_eq!(shape(b"select 'hunt", false), "select ...");
}

/// Recordings keep shapes in the place of texts.
#[test]
fn the_shape_of_a_shape_is_the_same() {
    for text in [
        "select \"a\", [b c] from t where x = 'y' and z in (1, 2) limit 5",
        "insert into t (a, b) values (1, 'x'), (2, 'y')",
        "with recursive n(x) as (select 1 union all select x+1 from n where x < 9) select max(x) from n",
        "PRAGMA user_version = 5",
        "insert into \"t\" (\"a\", \"b\") values (\"x\") on conflict (\"a\", \"b\" || c) do update set \"a\" = \"b\"",
        "create table \"t\" (\"a\" int default \"b\", \"c\" text); update \"t\" set \"a\" = \"t\" . \"b\"",
        "select a->>'$.b', -1 from t where c between ? and :d or e like '%' escape '\\'",
    ] {
        for whole in [true, false] {
            let once = shape(text.as_bytes(), whole);
            assert_eq!(shape(once.as_bytes(), true), once, "{text}");
        }
        // Cut anywhere.
        for len in 1..text.len() {
            let once = shape(&text.as_bytes()[..len], false);
            assert_eq!(shape(once.as_bytes(), true), once, "{text} {len}");
        }
    }
}

#[test]
fn names_lose_their_parameters() {
    for (name, expected) in [
        ("/var/lib/app.db", "/var/lib/app.db"),
        ("what?.db", "what?.db"),
        ("file:/var/app.db?mode=ro&key=hunter2", "file:/var/app.db"),
        ("FILE:app.db#hunter2", "FILE:app.db"),
        (":memory:", ":memory:"),
        ("", ""),
    ] {
        assert_eq!(database(name.as_bytes()), expected.as_bytes());
    }
}

#[test]
fn codes_have_names() {
    for (code, expected) in [
        (1, "SQLITE_ERROR"),
        (5, "SQLITE_BUSY"),
        (19, "SQLITE_CONSTRAINT"),
        (1555, "SQLITE_CONSTRAINT"),
        (26, "SQLITE_NOTADB"),
        (250, "SQLITE_250"),
        (-1, "SQLITE_-1"),
        (256, "SQLITE_256"),
    ] {
        assert_eq!(error(code).as_deref(), Some(expected));
    }
    assert_eq!(error(0), None);
}
