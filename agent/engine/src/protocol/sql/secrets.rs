//! A secret as every literal in every position of each dialect, whole and cut after every byte: nothing of
//! it is in a shape. A dialect adds a table.

use super::{Dialect, Kind, shape, statements};

/// Stands for a text and for the digits of a number.
const SECRETS: [&str; 2] = ["zqxjkvwy", "8675309"];

/// What all dialects have in common.
const EVERY: &[&str] = &[
    "select 'zqxjkvwy'",
    "select 'zq''zqxjkvwy'",
    "select '', 'zqxjkvwy', ''",
    "select a from t where b = 'zqxjkvwy' and c like '%zqxjkvwy%' escape '!'",
    "select a from t where b='zqxjkvwy'and c='zqxjkvwy'",
    "select a from t where b in ('zqxjkvwy', 'x', 8675309)",
    "select a from t where b not in('zqxjkvwy')",
    "select a from t where b between 'zqxjkvwy' and 'zqxjkvwy' or c <> 'zqxjkvwy'",
    "select case when a = 'zqxjkvwy' then 'zqxjkvwy' else 'zqxjkvwy' end",
    "select coalesce(a, 'zqxjkvwy') as b from t limit 8675309 offset 8675309",
    "select a || 'zqxjkvwy' || b from t group by 'zqxjkvwy' having max(a) > 'zqxjkvwy' order by 'zqxjkvwy'",
    "insert into t values ('zqxjkvwy')",
    "insert into t (a, b) values (1, 'zqxjkvwy'), (2, lower('zqxjkvwy')), (8675309, null)",
    "insert into t values (default, ('zqxjkvwy'), -8675309)",
    "update t set a = 'zqxjkvwy', b = 8675309 where c = 'zqxjkvwy'",
    "delete from t where a = 'zqxjkvwy'",
    "select 8675309, -8675309, +8675309, 8675309.5, .8675309, 0.8675309, 8675309e10, 1e8675309, 1.8675309E-8675309",
    "select a-8675309, a -8675309, (a)-8675309, 5-8675309, a*8675309, a%8675309",
    "select x'8675309', X'8675309', 0x8675309, 0X8675309",
    "select date '8675309', time 'zqxjkvwy', timestamp 'zqxjkvwy', interval '8675309' day",
    "select 1 /* zqxjkvwy */ + /*zqxjkvwy*/ 2 -- zqxjkvwy",
    "-- zqxjkvwy\nselect 1 -- zqxjkvwy\n, 2",
    "/* 'zqxjkvwy */ select 'a' /* ' zqxjkvwy */",
    "select 'a -- zqxjkvwy', 'b /* zqxjkvwy', '*/ zqxjkvwy'",
    "select ';zqxjkvwy;'; select 'zqxjkvwy'",
    "select cast('zqxjkvwy' as char), 'zqxjkvwy' collate x",
    "create table t (a int default 8675309, b varchar(10) default 'zqxjkvwy' check (b <> 'zqxjkvwy'))",
    "create view v as select 'zqxjkvwy'",
    "select 'zqxjkvwy",
    "select 'zqxjkvwy''",
    "select 1 /* zqxjkvwy",
    "select 'é zqxjkvwy é', 'zqxjkvwyé'",
    "zqxj('zqxjkvwy",
];

/// PostgreSQL.
const POSTGRESQL: &[&str] = &[
    "select E'zqxjkvwy', e'\\'zqxjkvwy', E'\\\\', 'zqxjkvwy', E'\\'\\'zqxjkvwy\\\\\\'zqxjkvwy'",
    // A literal goes on in the next line, with the escapes of its front.
    "select E'a'\n'b\\'zqxjkvwy', 'c'",
    "select E'a' -- zqxjkvwy\n  'b\\'zqxjkvwy', 'c'",
    "select 'a'\n'zqxjkvwy'",
    "select 'a\\', 'zqxjkvwy', 'b'",
    "select U&'zqxjkvwy', u&'d!0061 zqxjkvwy' uescape '!'",
    "select $$zqxjkvwy$$, $$'zqxjkvwy$$, $t$zqxjkvwy $$ $x$ zqxjkvwy$t$, $Tag_1$zqxjkvwy$Tag_1$",
    "select $é$zqxjkvwy$é$",
    "select $a$zqxjkvwy$b$zqxjkvwy$a$",
    "select $a$zqxjkvwy",
    "select B'8675309', b'8675309', N'zqxjkvwy', X'8675309'",
    "select 867_5309_8675309, 0x8675309, 0o8675309, 0b8675309, 8675309., 8675309.e5, 1_8675309e8675309",
    "select 'zqxjkvwy'::text, '8675309'::int::text, cast('zqxjkvwy' as text), text 'zqxjkvwy', 8675309::text",
    "select pg_catalog.text 'zqxjkvwy', bit varying '8675309', double precision '8675309'",
    "select interval '8675309 days', interval(3) 'zqxjkvwy', date 'zqxjkvwy', timestamp with time zone 'zqxjkvwy'",
    "select a at time zone 'zqxjkvwy', extract('zqxjkvwy' from b)",
    "select array['zqxjkvwy', 'b'], array[['zqxjkvwy'], [8675309]], '{zqxjkvwy}'::text[], a['zqxjkvwy'], a[8675309:8675309]",
    "select a -> 'zqxjkvwy' ->> 'zqxjkvwy' #> '{zqxjkvwy}' #>> '{8675309}' - 'zqxjkvwy', a->8675309",
    "select a @> '{\"zqxjkvwy\": 8675309}' and a ? 'zqxjkvwy' and a ?| array['zqxjkvwy'] and a @@ '$.zqxjkvwy'",
    "select a ~ 'zqxjkvwy' and b !~* 'zqxjkvwy' and c ilike 'zqxjkvwy' and d similar to 'zqxjkvwy'",
    "select /* a /* zqxjkvwy */ zqxjkvwy */ 1",
    "select 1 /* /* zqxjkvwy */ zqxjkvwy",
    "select 1 -- zqxjkvwy\r, 2",
    "copy t from stdin with (format csv, null 'zqxjkvwy', delimiter 'zqxjkvwy')",
    "copy (select 'zqxjkvwy') to program 'zqxjkvwy'",
    "copy t from '/zqxjkvwy'",
    "create user u password 'zqxjkvwy'",
    "alter role u with login encrypted password 'zqxjkvwy' valid until 'zqxjkvwy'",
    "alter user u password E'zqxjkvwy'",
    "alter role u set a.b to zqxjkvwy",
    "alter role u in database d set a = zqxjkvwy",
    "alter database d set a.b = 'zqxjkvwy'",
    "alter system set a = zqxjkvwy",
    "alter function f() set a.b = zqxjkvwy",
    "ALTER FUNCTION s.f(int, text) SET a TO zqxjkvwy, \"zqxjkvwy\"",
    "alter procedure p(a int) security definer set a.b to zqxjkvwy",
    "alter routine r set a = zqxjkvwy set b to zqxjkvwy",
    "alter group g set a = zqxjkvwy; alter function f set b to zqxjkvwy",
    "create function f() returns int language sql set a.b = zqxjkvwy as 'zqxjkvwy'",
    "create function f() returns int as 'zqxjkvwy' language sql set a.b = zqxjkvwy",
    "create or replace procedure p() set a to zqxjkvwy set b = zqxjkvwy as 'zqxjkvwy'",
    "set a = 'zqxjkvwy'",
    "set a.b = zqxjkvwy",
    "SET SESSION a TO zqxjkvwy",
    "set local a to zqxjkvwy, \"zqxjkvwy\", 'zqxjkvwy', 8675309",
    "set a=zqxjkvwy; select 1",
    "select 1; set a to zqxjkvwy",
    "select set_config('a.b', 'zqxjkvwy', true)",
    "set time zone 'zqxjkvwy'",
    "notify c, 'zqxjkvwy'",
    "select pg_notify('zqxjkvwy', 'zqxjkvwy')",
    "comment on table t is 'zqxjkvwy'",
    "security label on role r is 'zqxjkvwy'",
    "create function f() returns text language sql as 'select ''zqxjkvwy'''",
    "create function f() returns text language plpgsql as $f$ begin return 'zqxjkvwy'; end $f$",
    "create function f() returns text begin atomic select 'zqxjkvwy'; select $$zqxjkvwy$$; end; select 'zqxjkvwy'",
    "create function f(a text default 'zqxjkvwy') returns text return 'zqxjkvwy'",
    "do $$ begin perform 'zqxjkvwy'; end $$",
    "do language plpgsql 'zqxjkvwy'",
    "prepare p (text) as select $1, 'zqxjkvwy'",
    "execute p ('zqxjkvwy', 8675309)",
    "explain (analyze) select 'zqxjkvwy'",
    "declare c cursor for select 'zqxjkvwy'",
    "fetch 8675309 from c",
    "prepare transaction 'zqxjkvwy'",
    "create server s foreign data wrapper w options (host 'zqxjkvwy', password 'zqxjkvwy')",
    "create user mapping for u server s options (user 'zqxjkvwy', password 'zqxjkvwy')",
    "create subscription s connection 'host=h password=zqxjkvwy' publication p",
    "select dblink('password=zqxjkvwy', 'select 1')",
    "select crypt('zqxjkvwy', gen_salt('zqxjkvwy'))",
    "insert into t values ('zqxjkvwy') on conflict (a) do update set b = 'zqxjkvwy' returning 'zqxjkvwy'",
    "merge into t using (values ('zqxjkvwy')) v on t.a = 'zqxjkvwy' when matched then update set a = 'zqxjkvwy'",
    "with c as materialized (select 'zqxjkvwy') select * from c where a = any('{zqxjkvwy}')",
    "select xmlparse(document '<a>zqxjkvwy</a>'), json_value('zqxjkvwy', '$.zqxjkvwy')",
    "create type e as enum ('zqxjkvwy', 'b')",
    "create policy p on t using (a = 'zqxjkvwy')",
    "create table t partition of u for values in ('zqxjkvwy') with (a = 8675309)",
];

/// PostgreSQL with `standard_conforming_strings` off; as long as that is not known, too.
const POSTGRESQL_BACKSLASH: &[&str] = &[
    "select 'it\\'s zqxjkvwy'",
    "select '\\\\', 'zqxjkvwy'",
    "select '\\\\\\'zqxjkvwy', 'b'",
    "select 'zqxjkvwy\\",
];

/// MySQL and MariaDB.
const MYSQL: &[&str] = &[
    // Texts where other dialects have names.
    "select t.\"zqxjkvwy\", \"zqxjkvwy\".a, \"zqxjkvwy\"(1) as \"zqxjkvwy\" from \"zqxjkvwy\" join \"zqxjkvwy\"",
    "insert into \"zqxjkvwy\" (\"zqxjkvwy\", \"zqxjkvwy\") values (\"zqxjkvwy\")",
    "update \"zqxjkvwy\" set \"zqxjkvwy\" = 1, \"zqxjkvwy\"=2",
    "create table \"zqxjkvwy\" (\"zqxjkvwy\" int) comment \"zqxjkvwy\"",
    "select _utf8mb4\"zqxjkvwy\" collate \"zqxjkvwy\", @\"zqxjkvwy\", n\"zqxjkvwy\", x\"8675309\", date\"8675309\"",
    "select 'a' \"zqxjkvwy\" \"zqxjkvwy\" 'b', /*! \"zqxjkvwy\" */ 1",
    "select a->\"$.zqxjkvwy\", a ->> \"zqxjkvwy\", json_extract(a, \"$.zqxjkvwy\"), match (a) against (\"zqxjkvwy\")",
    "load data infile \"zqxjkvwy\" into table t fields terminated by \"zqxjkvwy\" escaped by \"zqxjkvwy\"",
    "select a into outfile \"zqxjkvwy\" from t",
    "grant all on *.* to \"zqxjkvwy\"@\"zqxjkvwy\" identified by \"zqxjkvwy\"",
    "alter table t add a enum(\"zqxjkvwy\"), modify b set(\"zqxjkvwy\") default \"zqxjkvwy\"",
    "call p(\"zqxjkvwy\", @a := \"zqxjkvwy\"); do sleep(\"8675309\"); prepare s from \"zqxjkvwy\"",
    "set names \"zqxjkvwy\" collate \"zqxjkvwy\"",
    "change master to master_password = \"zqxjkvwy\"",
    "select \"zqxjkvwy\", \"a\\\"zqxjkvwy\", 'b\\'zqxjkvwy', \"a\"\"zqxjkvwy\"",
    "select 1 # zqxjkvwy\n, 2 -- zqxjkvwy\n, 3",
    "select 1 -- a\rzqxjkvwy\n, 2",
    "select _utf8'zqxjkvwy', N'zqxjkvwy', b'8675309', 0b8675309",
    "set password for u = password('zqxjkvwy')",
    "set @a = 'zqxjkvwy', @b = \"zqxjkvwy\"",
    "create user u identified by 'zqxjkvwy'",
];

/// SQLite.
const SQLITE: &[&str] = &[
    "select \"zqxjkvwy\", distinct \"zqxjkvwy\", all \"zqxjkvwy\", (\"zqxjkvwy\"), -\"zqxjkvwy\", \"zq\"\"zqxjkvwy\" ,\"zqxjkvwy\"",
    "select a from t where b = \"zqxjkvwy\" and \"zqxjkvwy\" = b or \"zqxjkvwy\" and not \"zqxjkvwy\"",
    "select a==\"zqxjkvwy\", a<>\"zqxjkvwy\", a!=\"zqxjkvwy\", a<\"zqxjkvwy\", a >= \"zqxjkvwy\", a||\"zqxjkvwy\"||b",
    "select a+\"zqxjkvwy\", a*\"zqxjkvwy\", a%\"zqxjkvwy\", a&\"zqxjkvwy\", a<<\"zqxjkvwy\", ~\"zqxjkvwy\"",
    "select a is \"zqxjkvwy\", a is not \"zqxjkvwy\", a is distinct from \"zqxjkvwy\", \"zqxjkvwy\"",
    "select a from t where a is not distinct from \"zqxjkvwy\" and b like \"zqxjkvwy\" escape \"zqxjkvwy\"",
    "select a not like \"zqxjkvwy\", a glob \"zqxjkvwy\", a match \"zqxjkvwy\", a regexp \"zqxjkvwy\"",
    "select \"zqxjkvwy\" isnull, \"zqxjkvwy\" not null, \"zqxjkvwy\" in (a), \"zqxjkvwy\" between a and b",
    "select a from t where b in (\"zqxjkvwy\", c, \"zqxjkvwy\") and c not in(\"zqxjkvwy\") and d between \"zqxjkvwy\" and \"zqxjkvwy\"",
    "select a from t where b in (select \"zqxjkvwy\", c from u where d = \"zqxjkvwy\")",
    "select case \"zqxjkvwy\" when \"zqxjkvwy\" then \"zqxjkvwy\" else \"zqxjkvwy\" end",
    "select case when \"zqxjkvwy\" = a then a || \"zqxjkvwy\" end",
    "select f(\"zqxjkvwy\"), f(a, \"zqxjkvwy\", b), f(distinct \"zqxjkvwy\"), f(g(\"zqxjkvwy\") , (\"zqxjkvwy\"))",
    "select count(*) filter (where a = \"zqxjkvwy\") over (partition by \"zqxjkvwy\" order by \"zqxjkvwy\")",
    "select group_concat(a, \"zqxjkvwy\" order by \"zqxjkvwy\"), cast(\"zqxjkvwy\" as text), \"zqxjkvwy\" collate nocase",
    "select a -> \"zqxjkvwy\" ->> \"$.zqxjkvwy\", (a, \"zqxjkvwy\") = (\"zqxjkvwy\", b)",
    "select a from t group by \"zqxjkvwy\", \"zqxjkvwy\" having \"zqxjkvwy\" order by \"zqxjkvwy\" desc, \"zqxjkvwy\" limit \"zqxjkvwy\" offset \"zqxjkvwy\"",
    "select a from t limit \"zqxjkvwy\" , \"zqxjkvwy\"",
    "select a from t join u on \"zqxjkvwy\" = a and b = \"zqxjkvwy\" where exists (select \"zqxjkvwy\")",
    "select a from t, json_each(\"zqxjkvwy\", \"zqxjkvwy\") where \"zqxjkvwy\", \"zqxjkvwy\"",
    "select a from t union select \"zqxjkvwy\", \"zqxjkvwy\" union all values (\"zqxjkvwy\", \"zqxjkvwy\")",
    "select a from t window w as (order by \"zqxjkvwy\", \"zqxjkvwy\") intersect select a, \"zqxjkvwy\"",
    "with c (a) as (select \"zqxjkvwy\", \"zqxjkvwy\"), d as (values (\"zqxjkvwy\")) select \"zqxjkvwy\" from c",
    "insert into t values (\"zqxjkvwy\")",
    "insert into t values(1, \"zqxjkvwy\") , (\"zqxjkvwy\", f(\"zqxjkvwy\")) returning \"zqxjkvwy\", a || \"zqxjkvwy\"",
    "insert into t (a, b) values (\"zqxjkvwy\", \"zqxjkvwy\")",
    "insert into \"t\" (\"a\", \"b\") select \"zqxjkvwy\", (\"zqxjkvwy\"), \"zqxjkvwy\" || a from u",
    "insert into t(a || \"zqxjkvwy\", \"zqxjkvwy\" || a, (\"zqxjkvwy\"))",
    "replace into t values (\"zqxjkvwy\", \"zqxjkvwy\")",
    "insert into t values (1) on conflict (a || \"zqxjkvwy\", \"zqxjkvwy\" || a) where b = \"zqxjkvwy\" do update set c = \"zqxjkvwy\", d = f(\"zqxjkvwy\" = e) where f > \"zqxjkvwy\"",
    "update t set a = \"zqxjkvwy\", b=\"zqxjkvwy\" || \"zqxjkvwy\", (c, d) = (\"zqxjkvwy\", \"zqxjkvwy\") where e = \"zqxjkvwy\"",
    "update t set a = \"zqxjkvwy\" = \"zqxjkvwy\" where f(b, \"zqxjkvwy\" = c) returning a, \"zqxjkvwy\" = b",
    "update t set a = (select \"zqxjkvwy\", \"zqxjkvwy\" = b), b = case when c then \"zqxjkvwy\" end from u where \"zqxjkvwy\", \"zqxjkvwy\" = b",
    "delete from t where a = \"zqxjkvwy\" or \"zqxjkvwy\" returning \"zqxjkvwy\"",
    "create table t (a text default \"zqxjkvwy\", b text default (\"zqxjkvwy\") check (b <> \"zqxjkvwy\" and \"zqxjkvwy\"), c as (a || \"zqxjkvwy\"))",
    "create table t (a text not null default \"zqxjkvwy\" collate nocase unique check (\"zqxjkvwy\"), constraint b check (\"zqxjkvwy\"))",
    "create table t as select \"zqxjkvwy\", (\"zqxjkvwy\", \"zqxjkvwy\")",
    "alter table t add column b text default \"zqxjkvwy\"",
    "create index i on t (\"zqxjkvwy\", a || \"zqxjkvwy\", \"zqxjkvwy\" || a, f(\"zqxjkvwy\")) where b = \"zqxjkvwy\"",
    "select trigger from t join u on \"zqxjkvwy\" = a",
    "create view v as select \"zqxjkvwy\" from t join u on \"zqxjkvwy\" = a",
    "create trigger r after insert on t when new.a = \"zqxjkvwy\" begin update t set a = \"zqxjkvwy\" where \"zqxjkvwy\"; select raise(abort, \"zqxjkvwy\") from t join u on \"zqxjkvwy\"; end",
    "create virtual table t using fts5(\"zqxjkvwy\", tokenize = \"zqxjkvwy\")",
    "select \"zqxjkvwy\" /* */ || a, a || /* */ \"zqxjkvwy\" -- \n, \"zqxjkvwy\"",
    "select a; select \"zqxjkvwy\", (\"zqxjkvwy\"); insert into t values (\"zqxjkvwy\")",
    "select \"zqxjkvwy\".5, \"zqxjkvwy\" .5, x\"8675309\", n\"zqxjkvwy\", date\"8675309\"",
    "select \"zqxjkvwy",
    "vacuum into \"zqxjkvwy\"",
    "vacuum main into \"zqxjkvwy\"",
    "attach \"zqxjkvwy\" as a key \"zqxjkvwy\"",
    "attach database (\"zqxjkvwy\") as a key (\"zqxjkvwy\")",
    "detach \"zqxjkvwy\"",
    "select 1 -- a\rzqxjkvwy\n, 2",
    "pragma key = 'zqxjkvwy'",
    "pragma key = zqxjkvwy",
    "pragma key = \"zqxjkvwy\"",
    "pragma key(\"zqxjkvwy\")",
    "attach 'zqxjkvwy' as a key 'zqxjkvwy'",
];

/// Each dialect with its tables.
const DIALECTS: &[(Dialect, &[&[&str]])] = &[
    (Dialect::POSTGRESQL, &[EVERY, POSTGRESQL]),
    (
        Dialect::POSTGRESQL.with_backslash(true),
        &[EVERY, POSTGRESQL_BACKSLASH],
    ),
    (
        Dialect::POSTGRESQL.with_unknown_backslash(),
        &[EVERY, POSTGRESQL, POSTGRESQL_BACKSLASH],
    ),
    (Dialect::MYSQL, &[EVERY, MYSQL]),
    (Dialect::MYSQL.with_backslash(false), &[EVERY]),
    (Dialect::SQLITE, &[EVERY, SQLITE]),
];

/// Whether four characters in a row of a secret are in it.
fn tells(shape: &str) -> bool {
    let shape = shape.to_ascii_lowercase();
    SECRETS.iter().any(|secret| {
        let mut pieces = (0..=secret.len() - 4).map(|at| &secret[at..at + 4]);
        pieces.any(|piece| shape.contains(piece))
    })
}

/// A function's name, so that a table cannot pass by telling nothing at all.
const CONTROL: &str = "zqxj(";

/// The texts of a dialect; where double quotes quote texts too, those of all dialects in such as well.
fn texts(dialect: Dialect, tables: &[&[&str]]) -> Vec<String> {
    let mut texts: Vec<String> = tables.concat().iter().map(ToString::to_string).collect();
    if dialect.kind != Kind::PostgreSql {
        texts.extend(EVERY.iter().map(|text| text.replace('\'', "\"")));
    }
    texts
}

#[test]
fn literals_in_every_position() {
    let mut wrong = Vec::new();
    for (dialect, tables) in DIALECTS {
        for text in texts(*dialect, tables) {
            for at in 0..=text.len() {
                for complete in [false, true] {
                    let bytes = &text.as_bytes()[..at];
                    let one = shape(*dialect, bytes, complete);
                    let several = statements(*dialect, bytes, complete).shapes.join(";");
                    let told = tells(&one) || tells(&several);
                    if told != (text.starts_with(CONTROL) && at >= 4) {
                        wrong.push(format!("{dialect:?} {text:?} at {at}: {one}: {several}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
