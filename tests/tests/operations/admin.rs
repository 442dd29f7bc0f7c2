//! The real thing: Django's own admin, in a project as `django-admin startproject` makes it, on PostgreSQL,
//! behind nginx and gunicorn. It is used as by a browser; of each request the statements told are those that
//! `pg_stat_statements` has counted.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use whyslow_tests::{
    Agent, Watch,
    event::Finished,
    live,
    live::say,
    servers::{Gunicorn, Nginx, Postgres, Scratch, venv_python},
    watch::EVENT_LIMIT,
};

use crate::{
    browser::Browser,
    setting::{SECRET, assert_sound},
    truth,
};

/// What a project's owner would change in its settings.
const SETTINGS: &str = r#"
import os
ALLOWED_HOSTS = ["localhost"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "whyslow",
        "HOST": "127.0.0.1",
        "PORT": os.environ["POSTGRES_PORT"],
        "CONN_MAX_AGE": int(os.environ["CONN_MAX_AGE"]),
    }
}
"#;

/// Makes the project and its database, and someone who may log in.
fn make_project(project: &Path, port: u16) -> Result<()> {
    fs::create_dir(project)?;
    run(
        project,
        port,
        &["-m", "django", "startproject", "office", "."],
    )?;
    let settings = project.join("office/settings.py");
    let made = fs::read_to_string(&settings)?;
    fs::write(&settings, made + SETTINGS)?;
    run(project, port, &["manage.py", "migrate"])?;
    let user = ["--noinput", "--username=boss", "--email=boss@localhost"];
    run(
        project,
        port,
        &[&["manage.py", "createsuperuser"], &user[..]].concat(),
    )
}

fn run(project: &Path, port: u16, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(venv_python()?);
    command
        .args(arguments)
        .current_dir(project)
        .env("POSTGRES_PORT", port.to_string())
        .env("CONN_MAX_AGE", "0")
        .env("DJANGO_SUPERUSER_PASSWORD", SECRET);
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?} failed:\n{error}");
    Ok(())
}

struct Setting {
    watch: Watch,
    _agent: Agent,
    nginx: Nginx,
    gunicorn: Gunicorn,
    postgres: Postgres,
    _scratch: Scratch,
}

impl Setting {
    /// `conn_max_age`: how long, in seconds, the application keeps connections.
    fn new(live: &whyslow_tests::Live, conn_max_age: &str) -> Result<Self> {
        let scratch = Scratch::new("admin")?;
        let preload = "shared_preload_libraries=pg_stat_statements";
        let settings = [preload, "pg_stat_statements.track_utility=on"];
        let postgres = Postgres::start_with(scratch.path(), &settings)?;
        let project = scratch.path().join("project");
        make_project(&project, postgres.port)?;
        let gunicorn = Gunicorn::of(&project, "office.wsgi")
            .env("POSTGRES_PORT", postgres.port.to_string())
            .env("CONN_MAX_AGE", conn_max_age)
            .start(scratch.path())?;
        let nginx = Nginx::start(scratch.path(), gunicorn.port)?;
        let agent = Agent::start(live, &["--operations"])?;
        let setting = Self {
            watch: Watch::start(&agent)?,
            _agent: agent,
            nginx,
            gunicorn,
            postgres,
            _scratch: scratch,
        };
        truth::psql(&setting.postgres, "create extension pg_stat_statements")?;
        Ok(setting)
    }

    /// What is told of the application's part of the exchange; nginx has one with the same identity.
    fn finished(&self, key: &str) -> Result<Finished> {
        let workers = self.gunicorn.worker_pids();
        self.watch.expect(EVENT_LIMIT, key, |event| {
            let finished = event.request_finished.as_ref()?;
            let ours = finished.x_request_id == key && workers.contains(&finished.pid);
            ours.then(|| finished.clone())
        })
    }

    /// Does something with the browser, one request with this identity, and compares.
    fn agree<T>(&self, key: &str, act: impl FnOnce(&str) -> Result<T>) -> Result<(T, u64)> {
        truth::psql(&self.postgres, "select pg_stat_statements_reset()")?;
        let done = act(key)?;
        let finished = self.finished(key)?;
        let counted = truth::statements(&self.postgres)?;
        assert_sound(&finished);
        assert_eq!(
            truth::told_statements(&finished),
            counted,
            "{finished:#?}\n{}",
            truth::psql(
                &self.postgres,
                "select calls, query from pg_stat_statements"
            )?
        );
        assert!(
            finished.operations.iter().all(|o| o.errors == 0),
            "{finished:#?}"
        );
        Ok((done, counted.values().sum()))
    }
}

/// A visit: log in, list, add, change, search, delete, log out.
fn visit(setting: &Setting, round: usize) -> Result<u64> {
    let mut browser = Browser::new(setting.nginx.port);
    let mut sum = 0;
    let mut step = |name: &str, act: &mut dyn FnMut(&str) -> Result<String>| {
        let (page, count) = setting.agree(&format!("{name}-{round}"), act)?;
        sum += count;
        anyhow::Ok(page)
    };
    let name = format!("worker{round}");
    let users = "/admin/auth/user/";
    let login = "/admin/login/?next=/admin/";
    let page = step("login-page", &mut |key| browser.get(login, key, 200))?;
    let fields = [
        ("username", "boss"),
        ("password", SECRET),
        ("next", "/admin/"),
    ];
    step("login", &mut |key| browser.post(login, key, &page, &fields))?;
    step("index", &mut |key| browser.get("/admin/", key, 200))?;
    let page = step("add-page", &mut |key| {
        browser.get("/admin/auth/user/add/", key, 200)
    })?;
    let fields = [
        ("username", name.as_str()),
        ("usable_password", "true"),
        ("password1", "correct horse 7 hunter2"),
        ("password2", "correct horse 7 hunter2"),
    ];
    step("add", &mut |key| {
        browser.post("/admin/auth/user/add/", key, &page, &fields)
    })?;
    let list = step("list", &mut |key| browser.get(users, key, 200))?;
    ensure!(list.contains(&name), "{list}");
    let id = truth::psql(
        &setting.postgres,
        &format!("select id from auth_user where username = '{name}'"),
    )?;
    let change = format!("{users}{}/change/", id.trim());
    let page = step("change-page", &mut |key| browser.get(&change, key, 200))?;
    let fields = [
        ("username", name.as_str()),
        ("first_name", "hunter2"),
        ("is_active", "on"),
        ("date_joined_0", "2026-01-02"),
        ("date_joined_1", "03:04:05"),
    ];
    step("change", &mut |key| {
        browser.post(&change, key, &page, &fields)
    })?;
    let search = format!("{users}?q={SECRET}");
    let found = step("search", &mut |key| browser.get(&search, key, 200))?;
    ensure!(found.contains(&name), "{found}");
    let delete = format!("{users}{}/delete/", id.trim());
    let page = step("delete-page", &mut |key| browser.get(&delete, key, 200))?;
    step("delete", &mut |key| {
        browser.post(&delete, key, &page, &[("post", "yes")])
    })?;
    step("logout", &mut |key| browser.get("/admin/", key, 200))?;
    Ok(sum)
}

/// Each request of a visit agrees with the server, with a connection for each request and with one that stays.
#[test]
fn every_page_agrees() -> Result<()> {
    let Some(live) = live("operations::admin::every_page_agrees")? else {
        return Ok(());
    };
    for conn_max_age in ["0", "600"] {
        let setting = Setting::new(&live, conn_max_age)?;
        let mut sums = Vec::new();
        for round in 0..3 {
            sums.push(visit(&setting, round)?);
        }
        assert!(sums.iter().all(|sum| *sum > 50), "{sums:?}");
        say(&format!(
            "admin, CONN_MAX_AGE={conn_max_age}: statements per visit {sums:?}"
        ));
    }
    Ok(())
}
