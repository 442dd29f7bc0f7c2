//! MySQL's own tokens; what is tested of all dialects is in `tests`.

use super::{Dialect, shape, tests::check};

/// Literals that only MySQL has, with a marker in them.
pub(super) const VALUES: &[&str] = &[
    "\"SECRET\"",
    "\"a'SECRET\"",
    "_utf8'SECRET'",
    "\"a\"\"SECRET\"",
    "_binary'SECRET'",
    "_latin1\"SECRET\"",
    "_utf8 'SECRET'",
    "'a' 'SECRET'",
    "'`SECRET'",
    "'# SECRET'",
    "'/*! SECRET'",
    "N'SECRET'",
    "n'SECRET'",
    "X'SECRET'",
    "b'SECRET'",
    "@'SECRET'",
    "0xSECRET",
    "date'SECRET'",
    "/*! 'SECRET' */",
];
/// Comments that only it has.
pub(super) const COMMENTS: &[&str] = &[
    "# SECRET\n",
    "# 'SECRET\n",
    "#'SECRET\n",
    "-- \"SECRET\n",
    "/*+ SECRET */",
    "/*!40101 a = 'SECRET' */",
    "/*M!100100 a = 'SECRET' */",
    "/*!99999 don't */'SECRET'",
];

#[test]
fn mysql() {
    check(
        Dialect::MYSQL,
        &[
            (
                "select `a``b`, \"text\", 'it\\'s', \"a\\\"b\"",
                "select `a``b`, ?, ?, ?",
            ),
            ("select 1 # end\n, 2 -- end\n, 5--3", "select ? , ? , ?-?"),
            ("select 1 --", "select ?"),
            ("a/* x /* y */ z", "a z"),
            ("select /*!40001 SQL_NO_CACHE */ a", "select SQL_NO_CACHE a"),
            ("/*M!100100 set a=1 */", "set a=?"),
            ("select /*+ MAX_EXECUTION_TIME(1000) */ 1", "select ?"),
            ("select 2*/*c*/3", "select ?* ?"),
            (
                "set @a = @@global.b, @'c' = 1",
                "set @a = @@global.?, @? = ?",
            ),
            (
                "select _utf8'a', _binary\"b\", _x, n'b', b'01', x'1F', 0x1f",
                "select ?, ?, _x, ?, ?, ?, ?",
            ),
            (
                "a in (_utf8mb4'a', _utf8mb4'b') and `b` in (?, ?)",
                "a in (...) and `b` in (...)",
            ),
            (
                "select @a:=1, @`b`, @@session.c, :d, t.`e`",
                "select @a:=?, @`b`, @@session.c, ?, t.`e`",
            ),
            (
                "create user 'a'@'b' identified by 'c'",
                "create user ?@? identified by ?",
            ),
            ("select a->>'$.b', {ts 'c'}", "select a->>?, {ts ?}"),
            // What the server may have passed over is told up to where it makes a difference.
            ("select /*!99999 don't */ a, 'b'", "select don..."),
            ("select /*! '*/' */ 'b'", "select ..."),
            ("select /*!50000 1 # */ 'b'\n */", "select ? ..."),
            ("select /*!50000 1 */ /* don't */ a", "select ? a"),
        ],
    );
    let ansi = Dialect::MYSQL.with_backslash(false);
    assert_eq!(shape(ansi, b"select 'C:\\', a", true), "select ?, a");
}
