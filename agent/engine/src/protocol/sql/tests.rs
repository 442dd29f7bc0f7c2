use super::*;

const DIALECTS: [Dialect; 5] = [
    Dialect::POSTGRESQL,
    Dialect::POSTGRESQL.with_backslash(true),
    Dialect::MYSQL,
    Dialect::MYSQL.with_backslash(false),
    Dialect::SQLITE,
];

pub(super) fn check(dialect: Dialect, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(shape(dialect, text.as_bytes(), true), *expected, "{text}");
    }
}

#[test]
fn every_dialect() {
    for dialect in DIALECTS {
        check(
            dialect,
            &[
                ("", ""),
                (" ; ;; ", ""),
                ("select 1", "select ?"),
                ("SELECT\n\t a ,b  FROM\r\nt;", "SELECT a ,b FROM t"),
                (
                    "select 'x' from t where a='it''s'",
                    "select ? from t where a=?",
                ),
                (
                    "select 1.5, .5, 1e10, 1e-5, 2E+7, 0x1F",
                    "select ?, ?, ?, ?, ?, ?",
                ),
                ("select t1.c2, _x, é from t1", "select t1.c2, _x, é from t1"),
                ("select X'1f', x'2F'", "select ?, ?"),
                (
                    "a = NULL and b is not null and c = TRUE and f(d, null)",
                    "a = ? and b is not null and c = ? and f(d, ?)",
                ),
                (
                    "where a = ? and b = :name and c = %s",
                    "where a = ? and b = ? and c = ?",
                ),
                (
                    "c = %(name)s, d = 5 % 2, e = a %% b",
                    "c = ?, d = ? % ?, e = a %% b",
                ),
                ("date '2020-01-01'", "date ?"),
                ("limit 10 offset 20", "limit ? offset ?"),
                ("select /* a */ 1 -- b", "select ?"),
                ("select a/**/b", "select a b"),
                ("-- first\nselect 1", "select ?"),
                (
                    "insert into t(a) values ('1')",
                    "insert into t(a) values (...)",
                ),
                (
                    "select a from t group by 1 order by 2 desc",
                    "select a from t group by ? order by ? desc",
                ),
            ],
        );
    }
}

#[test]
fn signs() {
    check(
        Dialect::POSTGRESQL,
        &[
            ("select -1", "select ?"),
            ("select - 1", "select ?"),
            ("a = -1 and b > +2.5", "a = ? and b > ?"),
            ("a -1", "a -?"),
            ("a - 1", "a - ?"),
            ("(a)-1", "(a)-?"),
            ("$1 - 1", "? - ?"),
            ("a * -1", "a * ?"),
            ("f(-1, -2)", "f(?, ?)"),
            ("limit -1", "limit ?"),
            ("between -1 and -2", "between ? and ?"),
            ("-a", "-a"),
            ("- $1", "- ?"),
        ],
    );
}

#[test]
fn lists() {
    check(
        Dialect::POSTGRESQL,
        &[
            ("a IN (1)", "a IN (...)"),
            ("a IN (1, 'b', $3,null)", "a IN (...)"),
            ("a not in( 1,-2 )and b", "a not in(...)and b"),
            ("a IN ($1::int, $2::int)", "a IN (...)"),
            ("(a, b) IN ((1, 2), (3, 4))", "(a, b) IN (...)"),
            ("a IN (b, 1)", "a IN (b, ?)"),
            ("a IN (\"b\", 1)", "a IN (\"b\", ?)"),
            ("a IN ()", "a IN ()"),
            (
                "a IN (select 1 where b in (1, 2))",
                "a IN (select ? where b in (...))",
            ),
            ("VALUES (1, 2), (3, 4)", "VALUES (...)"),
            ("VALUES (1, 2),(3, 4) , (5, f((6)))", "VALUES (...)"),
            (
                "values (now(), DEFAULT, 1), (now(), DEFAULT, 2) returning id",
                "values (...) returning id",
            ),
            ("values (DEFAULT)", "values (...)"),
            ("values (1, 2), a", "values (...), a"),
            (
                "values ((select a from b where c = 1))",
                "values ((select a from b where c = ?))",
            ),
            (
                "from (values (1), (2)) as t (a)",
                "from (values (...)) as t (a)",
            ),
            ("a = any(ARRAY[1, 2, 3])", "a = any(ARRAY[...])"),
            (
                "a = any(array['x','y']::text[]) and b[1]",
                "a = any(array[...]::text[]) and b[?]",
            ),
            ("array[a, 1]", "array[a, ?]"),
        ],
    );
    check(
        Dialect::MYSQL,
        &[(
            "insert into t values (1,'a') , (2, 'b') on duplicate key update a = VALUES(a)",
            "insert into t values (...) on duplicate key update a = VALUES(a)",
        )],
    );
}

#[test]
fn postgresql() {
    check(
        Dialect::POSTGRESQL,
        &[
            (
                "select \"My Col\", \"a\"\"b\" from t",
                "select \"My Col\", \"a\"\"b\" from t",
            ),
            (
                "select E'a\\'b', e'c', N'd', B'01', U&'e' uescape '!'",
                "select ?, ?, ?, ?, ? uescape ?",
            ),
            ("select U&\"d!0061t\"", "select U&\"d!0061t\""),
            ("select 'a\\', b", "select ?, b"),
            (
                "select $$a 'b' $c$ $$, $t$ $$ x $t$, $1, $23",
                "select ?, ?, ?, ?",
            ),
            ("a/* x /* y */ z */b", "a b"),
            ("a::int, $1::text", "a::int, ?::text"),
            (
                "select a[1:2], a[lo:hi], f(b := 1)",
                "select a[?:?], a[lo:hi], f(b := ?)",
            ),
            (
                "a -> 'x' ->> 'y' #> '{z}' @> '{}'",
                "a -> ? ->> ? #> ? @> ?",
            ),
            ("foo$1 = 1", "foo$1 = ?"),
            ("a--b\n+1", "a +?"),
            ("interval '1 day'", "interval ?"),
            ("1_000", "?"),
            ("a `", "a `"),
        ],
    );
    let old = Dialect::POSTGRESQL.with_backslash(true);
    assert_eq!(shape(old, b"select 'a\\'b', c", true), "select ?, c");
}

#[test]
fn sqlite() {
    check(
        Dialect::SQLITE,
        &[
            (
                "select [a b], `c`, \"d\".\"e\" from \"t\"",
                "select [a b], `c`, \"d\".\"e\" from \"t\"",
            ),
            (
                "where \"t\".\"a\" = \"t\".\"b\" and a = \"text\"",
                "where \"t\".\"a\" = \"t\".\"b\" and a = ?",
            ),
            ("where a like \"text\"", "where a like ?"),
            ("values (\"text\", 1)", "values (...)"),
            ("select ?1, :b, @c, $d", "select ?, ?, ?, ?"),
            ("a/* x /* y */ z", "a z"),
        ],
    );
}

#[test]
fn values_of_settings_and_of_columns() {
    check(
        Dialect::POSTGRESQL,
        &[
            (
                "alter function f() set a.b = c",
                "alter function f() set a.b = ?",
            ),
            (
                "alter function f() rename to g",
                "alter function f() rename to g",
            ),
            (
                "alter table t alter column a set default b, add c int",
                "alter table t alter column a set default b, add c int",
            ),
            (
                "create function f() returns int begin atomic update t set a = b",
                "create function f() returns int begin atomic update t set a = b",
            ),
            ("create table t (a int)", "create table t (a int)"),
            ("update t set a = b", "update t set a = b"),
        ],
    );
}

#[test]
fn statements_by_semicolons() {
    let split = |text: &str| statements(Dialect::POSTGRESQL, text.as_bytes(), true).shapes;
    assert_eq!(split("select 1; select a ;"), ["select ?", "select a"]);
    assert_eq!(
        split("select ';' ; /* ; */ ; \"a;b\";$$;$$"),
        ["select ?", "\"a;b\"", "?"]
    );
    assert_eq!(split(" ; -- x"), Vec::<String>::new());
    assert_eq!(
        split("create rule r as on insert to t do (select 1; select 2); select 3"),
        [
            "create rule r as on insert to t do (select ?; select ?)",
            "select ?"
        ]
    );
    assert_eq!(
        split(
            "create or replace function f() returns int begin atomic select case when a then 1 end; \
             select 2; end; select 3"
        )
        .len(),
        2
    );
    assert_eq!(split("begin; select 1; end; commit").len(), 4);
    assert_eq!(split(&"a;".repeat(2000)).len(), STATEMENT_LIMIT);
    let cut = |text: &str| statements(Dialect::POSTGRESQL, text.as_bytes(), false).shapes;
    assert_eq!(cut("select 1; select 'a"), ["select ?", "select ..."]);
    assert_eq!(cut("select 1; "), ["select ?"]);
    assert_eq!(cut(""), ["..."]);
    let long = format!("select {}; b", "a, ".repeat(1000));
    let shapes = split(&long);
    assert_eq!((shapes.len(), shapes[0].len()), (2, SHAPE_LIMIT));
    assert_eq!(shapes[1], "b");
}

#[test]
fn statements_that_may_stand_behind() {
    let limit = "a;".repeat(STATEMENT_LIMIT);
    for (text, complete, expected) in [
        ("select 1; select 2;", true, false),
        ("select 1; select 'a", true, true),
        (&limit, true, false),
        (&format!("{limit} ; "), true, false),
        (&format!("{limit}b"), true, true),
        (&limit, false, true),
        ("select a from t where b in (1, ", false, false),
        ("insert into t values ('a; b", false, false),
        ("select 1;", false, true),
        ("select 1; selec", false, true),
    ] {
        let made = statements(Dialect::POSTGRESQL, text.as_bytes(), complete);
        assert_eq!(made.more, expected, "{text} {complete}");
    }
}

#[test]
fn cut_texts_end_in_dots() {
    for (text, expected) in [
        (
            "select * from t where a = 'x",
            "select * from t where a = ...",
        ),
        (
            "select * from t where a = ",
            "select * from t where a = ...",
        ),
        (
            "select * from t where a = 12",
            "select * from t where a = ...",
        ),
        (
            "select * from t where a = $tag",
            "select * from t where a = ...",
        ),
        ("select * from t whe", "select * from t whe..."),
        ("select * from t /* x", "select * from t ..."),
        ("a in (1, 2", "a in (..."),
        ("a in (", "a in (..."),
        ("values (1", "values (..."),
        ("values (1)", "values (..."),
        ("values (1),", "values (..."),
        ("values (1), (2, f(", "values (..."),
    ] {
        let shape = shape(Dialect::POSTGRESQL, text.as_bytes(), false);
        assert_eq!(shape, expected, "{text}");
    }
    // What does not end is cut, even if nothing is missing.
    assert_eq!(shape(Dialect::POSTGRESQL, b"select 'a", true), "select ...");
}

#[test]
fn length_is_bounded() {
    for text in [
        "a".repeat(5000),
        "é".repeat(5000),
        "a ".repeat(5000),
        "\u{fffd}".repeat(SHAPE_LIMIT),
        format!("x in ({}b)", "1, ".repeat(5000)),
        format!("\"{}\"", "ab".repeat(5000)),
    ] {
        for complete in [true, false] {
            let shape = shape(Dialect::POSTGRESQL, text.as_bytes(), complete);
            assert!(
                shape.len() <= SHAPE_LIMIT && shape.ends_with("..."),
                "{shape}"
            );
        }
    }
    let exact = "a".repeat(SHAPE_LIMIT);
    assert_eq!(shape(Dialect::POSTGRESQL, exact.as_bytes(), true), exact);
    // A long list does not use up the room of what is behind it.
    let list = format!("a in ({}2) and b", "1, ".repeat(5000));
    assert_eq!(
        shape(Dialect::POSTGRESQL, list.as_bytes(), true),
        "a in (...) and b"
    );
    let rows = format!("values {}(2) returning b", "(1, 'x'), ".repeat(5000));
    assert_eq!(
        shape(Dialect::POSTGRESQL, rows.as_bytes(), true),
        "values (...) returning b"
    );
}

/// Literals and comments with the marker in them.
fn hiding_places(dialect: Dialect) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut values = vec![
        "'SECRET'",
        "'it''s SECRET'",
        "'a -- SECRET'",
        "'/* SECRET'",
        "'\"SECRET'",
    ];
    let mut comments = vec![
        "/* SECRET */",
        "/* 'SECRET */",
        "-- SECRET\n",
        "-- 'SECRET\n",
    ];
    match dialect.kind {
        Kind::PostgreSql => {
            values.extend([
                "E'\\'SECRET'",
                "e'a\\\\SECRET'",
                "N'SECRET'",
                "U&'SECRET'",
                "$$SECRET$$",
                "$$a $ SECRET$$",
                "$t$ $$ SECRET $u$ $t$",
                "$t$'SECRET$t$",
                "'SECRET'::text",
                "X'SECRET'",
            ]);
            comments.extend(["/* /* x */ SECRET */", "/*/* SECRET */*/", "/*! SECRET */"]);
        }
        Kind::MySql => {
            values.extend(mysql_tests::VALUES);
            comments.extend(mysql_tests::COMMENTS);
            if dialect.backslash == Backslash::Escapes {
                values.extend(["'\\'SECRET'", "\"\\\"SECRET\"", "'\\\\\\'SECRET'"]);
            }
        }
        Kind::Sqlite => values.extend([
            "x'SECRET'",
            "'\\''SECRET'",
            "\"SECRET\"",
            "\"a'\"\"SECRET\"",
        ]),
    }
    if dialect.backslash == Backslash::Escapes {
        values.push("'a\\'SECRET'");
    } else {
        values.push("'a\\' || 'SECRET'");
    }
    (values, comments)
}

/// Texts with the marker in every place where a literal or a comment may be.
fn marked(dialect: Dialect) -> Vec<String> {
    let (values, comments) = hiding_places(dialect);
    let mut texts = Vec::new();
    for value in values {
        // Brackets quote names in SQLite.
        if dialect.kind != Kind::Sqlite {
            texts.push(format!("a = any(array[{value}, {value}]) and b[{value}]"));
        }
        texts.extend([
            format!("select {value}, a from t where b = {value} and c like {value} limit 1"),
            format!("insert into t (a, b) values ({value}, f({value})), ({value}, 1) returning {value}"),
            format!("update t set a={value},b = {value}||{value} where c in ({value},{value}) or d in (a, {value})"),
            format!("{value};{value} {value}; select({value})"),
            format!("select é {value} {value}é, 1 {value}, -{value}, \u{fffd} {value}"),
        ]);
    }
    for comment in comments {
        texts.extend([
            format!("{comment}select{comment}1{comment}from t {comment}"),
            format!(
                "select a in ({comment}1,{comment}2) {comment}, values (1){comment},{comment}(2)"
            ),
            format!("a = {comment}'SECRET'{comment}- {comment}1;{comment}b"),
        ]);
    }
    texts
}

#[test]
fn nothing_of_a_literal_gets_out_wherever_it_is_cut() {
    for dialect in DIALECTS {
        for text in marked(dialect) {
            for cut in 0..=text.len() {
                let bytes = &text.as_bytes()[..cut];
                for complete in [cut == text.len(), false] {
                    let shape = shape(dialect, bytes, complete);
                    let split = statements(dialect, bytes, complete).shapes;
                    // Its first letter alone would be a leak too.
                    for shape in split.iter().chain([&shape]) {
                        assert!(!shape.contains('S'), "{text:?} cut at {cut}: {shape:?}");
                    }
                    assert!(
                        complete || shape.ends_with("..."),
                        "{text:?} cut at {cut}: {shape:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn any_bytes_are_taken() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let alphabet = b"'\"`$$a1-/*#[](),;:%@?\\!\n E\xff\xc3\x00.";
    for round in 0..3000 {
        let mut text = Vec::new();
        for _ in 0..round % 90 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let byte = if round % 2 == 0 {
                state as u8
            } else {
                alphabet[state as usize % alphabet.len()]
            };
            text.push(byte);
        }
        for dialect in DIALECTS {
            for complete in [true, false] {
                assert!(shape(dialect, &text, complete).len() <= SHAPE_LIMIT);
                for shape in statements(dialect, &text, complete).shapes {
                    assert!(shape.len() <= SHAPE_LIMIT);
                }
            }
        }
    }
}

#[test]
fn work_is_linear() {
    // Quadratic work on these would take very long.
    for piece in [
        "$a",
        "/*",
        "'",
        "$$",
        "(",
        "((1),",
        "-",
        "E'",
        "a in (",
        "values (1),(",
        "%(a",
        "[",
        ";",
    ] {
        let text = piece.repeat(100_000);
        for dialect in DIALECTS {
            statements(dialect, text.as_bytes(), true);
            shape(dialect, text.as_bytes(), false);
        }
    }
}
