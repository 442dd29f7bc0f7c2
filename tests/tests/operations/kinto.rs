//! An application that is not ours: Kinto, from PyPI, with its records in PostgreSQL and its cache in
//! memcached or Redis, under gunicorn. Its HTTP API is used; of each request all figures agree with what the
//! servers have counted.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch, live,
    live::say,
    servers::{Environment, Gunicorn, Memcached, Postgres, Redis, Scratch, app_dir},
};

use crate::{
    browser::Browser,
    setting::{SECRET, assert_sound},
    truth,
};

struct Setting {
    watch: Watch,
    _agent: Agent,
    gunicorn: Gunicorn,
    memcached: Memcached,
    redis: Redis,
    postgres: Postgres,
    _scratch: Scratch,
}

impl Setting {
    /// `cache`: the module of Kinto that its cache is in.
    fn new(live: &Live, cache: &str) -> Result<Self> {
        let scratch = Scratch::new("kinto")?;
        let preload = "shared_preload_libraries=pg_stat_statements";
        let settings = [preload, "pg_stat_statements.track_utility=on"];
        let postgres = Postgres::start_with(scratch.path(), &settings)?;
        let memcached = Memcached::start(scratch.path())?;
        let redis = Redis::start(scratch.path())?;
        let place = match cache {
            "memcached" => format!("kinto.cache_hosts = {}", memcached.address()),
            _ => format!("kinto.cache_url = {}", redis.url()),
        };
        let file = scratch.path().join("kinto.ini");
        fs::write(&file, settings_of(&postgres, cache, &place))?;
        let python = Environment::of_app("kinto")?;
        let migrate = Command::new(python.with_file_name("kinto"))
            .args(["migrate", "--ini"])
            .arg(&file)
            .output()?;
        let error = String::from_utf8_lossy(&migrate.stderr);
        ensure!(migrate.status.success(), "kinto migrate failed:\n{error}");
        truth::psql(&postgres, "create extension pg_stat_statements")?;
        let gunicorn = Gunicorn::of(&app_dir("kinto"), "app:application")
            .python(python)
            .env("KINTO_INI", &file)
            .ready_path(Some("/v1/"))
            .start(scratch.path())?;
        let agent = Agent::start(live, &["--operations"])?;
        Ok(Self {
            watch: Watch::start(&agent)?,
            _agent: agent,
            gunicorn,
            memcached,
            redis,
            postgres,
            _scratch: scratch,
        })
    }

    /// One request; what is told of it agrees with all servers. Returns how many operations it had.
    fn agree(&self, browser: &mut Browser, step: &Step) -> Result<u64> {
        let Step(key, method, path, body, status) = step;
        let key = format!("{key}-{}", self.gunicorn.port);
        truth::psql(&self.postgres, "select pg_stat_statements_reset()")?;
        let (stats, commands) = (
            truth::stats(&self.memcached)?,
            truth::commands(&self.redis)?,
        );
        let body = (!body.is_empty()).then_some(("application/json", *body));
        browser.ask(method, path, &key, body, *status)?;
        let finished = self.watch.request(&key)?;
        assert_sound(&finished);
        let statements = truth::statements(&self.postgres)?;
        assert_eq!(
            truth::told_statements(&finished),
            statements,
            "{finished:#?}"
        );
        truth::assert_memcached(&finished, &stats, &truth::stats(&self.memcached)?);
        let ran = truth::ran(&commands, truth::commands(&self.redis)?);
        assert_eq!(truth::told_commands(&finished, &ran), ran, "{finished:#?}");
        Ok(finished.operations.iter().map(|o| o.count).sum())
    }
}

fn settings_of(postgres: &Postgres, cache: &str, place: &str) -> String {
    let url = postgres.url();
    format!(
        "[app:main]\nuse = egg:kinto\n\
         kinto.includes = kinto.plugins.default_bucket kinto.plugins.accounts\n\
         kinto.storage_backend = kinto.core.storage.postgresql\nkinto.storage_url = {url}\n\
         kinto.permission_backend = kinto.core.permission.postgresql\nkinto.permission_url = {url}\n\
         kinto.cache_backend = kinto.core.cache.{cache}\n{place}\n\
         kinto.userid_hmac_secret = {SECRET}\nkinto.default_bucket_hmac_secret = {SECRET}\n\
         multiauth.policies = account\n\
         multiauth.policy.account.use = kinto.plugins.accounts.AccountsPolicy\n\
         kinto.account_create_principals = system.Everyone\n"
    )
}

/// Name, method, path, body and the status that it must be answered with.
struct Step(&'static str, &'static str, &'static str, &'static str, u16);

/// What a user of the API does.
const STEPS: &[Step] = &[
    Step("heartbeat", "GET", "/v1/", "", 200),
    Step(
        "account",
        "PUT",
        "/v1/accounts/alice",
        r#"{"data": {"password": "hunter2"}}"#,
        201,
    ),
    Step("who", "GET", "/v1/", "", 200),
    Step(
        "first",
        "POST",
        "/v1/buckets/default/collections/tasks/records",
        r#"{"data": {"text": "hunter2", "done": false}}"#,
        201,
    ),
    Step(
        "second",
        "PUT",
        "/v1/buckets/default/collections/tasks/records/8d7e5f8a-0000-4000-8000-000000000001",
        r#"{"data": {"text": "hunter2", "done": true}}"#,
        201,
    ),
    Step(
        "change",
        "PATCH",
        "/v1/buckets/default/collections/tasks/records/8d7e5f8a-0000-4000-8000-000000000001",
        r#"{"data": {"done": false}}"#,
        200,
    ),
    Step(
        "list",
        "GET",
        "/v1/buckets/default/collections/tasks/records?_sort=-last_modified",
        "",
        200,
    ),
    Step(
        "search",
        "GET",
        "/v1/buckets/default/collections/tasks/records?text=hunter2",
        "",
        200,
    ),
    Step(
        "nowhere",
        "GET",
        "/v1/buckets/default/collections/tasks/records/8d7e5f8a-0000-4000-8000-00000000000f",
        "",
        404,
    ),
    Step(
        "batch",
        "POST",
        "/v1/batch",
        r#"{"defaults": {"method": "POST", "path": "/v1/buckets/default/collections/tasks/records"},
            "requests": [{"body": {"data": {"n": 1}}}, {"body": {"data": {"n": 2}}}, {"body": {"data": {"n": 3}}}]}"#,
        200,
    ),
    Step(
        "delete",
        "DELETE",
        "/v1/buckets/default/collections/tasks/records/8d7e5f8a-0000-4000-8000-000000000001",
        "",
        200,
    ),
    Step(
        "flush",
        "DELETE",
        "/v1/buckets/default/collections/tasks/records",
        "",
        200,
    ),
];

fn check(cache: &str) -> Result<()> {
    let Some(live) = live(&format!("operations::kinto::{cache}"))? else {
        return Ok(());
    };
    let setting = Setting::new(&live, cache)?;
    let mut browser = Browser::new(setting.gunicorn.port);
    // alice:hunter2
    browser.headers = vec![("Authorization", "Basic YWxpY2U6aHVudGVyMg==".to_owned())];
    let mut counts = Vec::new();
    for step in STEPS {
        counts.push((step.0, setting.agree(&mut browser, step)?));
    }
    say(&format!("kinto with {cache}: {counts:?}"));
    let sum: u64 = counts.iter().map(|(_, count)| count).sum();
    assert!(sum > 50, "{counts:?}");
    Ok(())
}

/// With its cache in memcached.
#[test]
fn memcached() -> Result<()> {
    check("memcached")
}

/// With its cache in Redis.
#[test]
fn redis() -> Result<()> {
    check("redis")
}
