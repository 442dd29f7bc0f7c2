SELECT "auth_user"."id", "auth_user"."password" FROM "auth_user" WHERE "auth_user"."username" = 'zqxjkvwy' LIMIT 21
INSERT INTO t (a, b) VALUES ('zqxjkvwy', 1), (E'zq\'xjkvwy', 2) ON CONFLICT DO NOTHING RETURNING id
select $$zqxjkvwy$$, $tag$ zqxjkvwy $$ ' $tag$, U&'zqxjkvwy' uescape '!', B'01', X'1f', 1e10, .5, 0x1F, 1_000
select a -> 'zqxjkvwy' ->> 'zqxjkvwy' #> '{zqxjkvwy}' from t where b @> '{"zqxjkvwy": [1, 2]}'::jsonb
/* zqxjkvwy /* zqxjkvwy */ zqxjkvwy */ select 1 -- zqxjkvwy
update t set a = 'zqxjkvwy' where b in (1, 2, 3) and c = any(ARRAY['zqxjkvwy', 'b'])
create function f() returns int language sql as $f$ select 'zqxjkvwy' $f$; select f()
with recursive r(n) as (values (1) union all select n + 1 from r where n < 100) select sum(n) from r
select interval '1 day', date '2020-01-01', timestamp with time zone 'zqxjkvwy'
copy t (a, b) from stdin with (format csv, delimiter ',')
