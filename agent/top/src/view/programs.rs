//! What is started, in details of rows: a program with the routes that start it, and the children of a request.

use ratatui::text::Span;
use whyslow_proto::v1::{Child, Program, ProgramRoute};

use super::{
    Line,
    operations::{WIDE, named},
    overlay::heading,
};
use crate::{
    number::{count, duration, rate, share, time_of_one},
    palette::Theme,
    rows::{OTHER_ROUTE, cost_ns, request_line},
    text::clean,
};

/// The fields of a program.
pub(super) fn fields(program: &Program, window_s: f64) -> [(&'static str, String); 8] {
    let runs = format!(
        "{} ended, {} failed; {} run now",
        count(program.count),
        count(program.failures),
        program.running
    );
    let cpu = format!(
        "{}, {} each",
        duration(program.cpu_ns),
        duration(program.cpu_ns.checked_div(program.count).unwrap_or(0))
    );
    let walls = format!(
        "p50 {}   p95 {}   max {}",
        time_of_one(program.wall_p50_ns),
        time_of_one(program.wall_p95_ns),
        time_of_one(program.wall_max_ns)
    );
    let startup = match program.started_up {
        0 => "none wrote to its output".to_owned(),
        n => format!(
            "p50 {}   p95 {}, until the first output of {} runs",
            time_of_one(program.startup_p50_ns),
            time_of_one(program.startup_p95_ns),
            count(n)
        ),
    };
    [
        ("program", clean(&program.command)),
        (
            "window",
            format!("{window_s:.0} s, {} per second", rate(program.rate_per_s)),
        ),
        ("runs", runs),
        (
            "cost",
            format!("{} of CPU and waiting", duration(cost_ns(program))),
        ),
        ("on CPU", cpu),
        (
            "waited for",
            format!("{} by requests", duration(program.waited_ns)),
        ),
        ("time of one", walls),
        ("start-up", startup),
    ]
}

fn is_rest(started: &ProgramRoute) -> bool {
    started.method.is_empty() && started.route == OTHER_ROUTE
}

/// The routes that start a program, most time first.
pub(super) fn started_by(program: &Program, theme: Theme, columns: u16) -> Vec<Line> {
    if program.routes.is_empty() {
        return Vec::new();
    }
    let titles = format!(" {:>7}{:>9}{:>6} ROUTE", "RUNS", "TIME", "SHARE");
    let mut lines = vec![
        Line::default(),
        heading("Started by", theme),
        Line::from(Span::styled(titles, theme.strong())),
    ];
    for started in &program.routes {
        let part = share(started.wall_ns as f64 / program.wall_ns as f64);
        let figures = format!(
            " {:>7}{:>9}{part:>6} ",
            count(started.count),
            duration(started.wall_ns)
        );
        let name = if is_rest(started) {
            "(other routes, or no request)".to_owned()
        } else {
            request_line(&started.method, &started.route)
        };
        lines.push(named(figures, (false, &name), theme, columns));
    }
    lines
}

/// The children of a request, as a table; nothing where there are none.
pub(super) fn children(children: &[Child], of: u32, theme: Theme, columns: u16) -> Vec<Line> {
    if children.is_empty() {
        return Vec::new();
    }
    let titles = if columns < WIDE {
        format!(" {:>8}{:>8} CHILD", "TIME", "CPU")
    } else {
        format!(
            " {:>8}{:>8}{:>8}{:>8} {:<11} CHILD",
            "TIME", "WAITED", "CPU", "START", "END"
        )
    };
    let mut lines = vec![
        Line::default(),
        heading("Children", theme),
        Line::from(Span::styled(titles, theme.strong())),
    ];
    for child in children {
        let times = [child.wall_ns, child.waited_ns, child.cpu_ns].map(duration);
        let figures = if columns < WIDE {
            format!(" {:>8}{:>8} ", times[0], times[2])
        } else {
            format!(
                " {:>8}{:>8}{:>8}{:>8} {:<11} ",
                times[0],
                times[1],
                times[2],
                time_of_one(child.startup_ns),
                end(child)
            )
        };
        lines.push(named(figures, (false, &name(child, of)), theme, columns));
    }
    lines
}

/// How a child ended.
pub(super) fn end(child: &Child) -> String {
    match (child.running, child.signal, child.exit_code) {
        (true, ..) => "running".to_owned(),
        (_, 0, 0) => String::new(),
        (_, 0, code) => format!("status {code}"),
        (_, signal, _) => format!("signal {signal}"),
    }
}

/// What it runs, and who it is.
pub(super) fn name(child: &Child, of: u32) -> String {
    let command = clean(&child.command);
    match child.parent_pid {
        _ if child.pid == 0 => format!("{} {command}", child.count),
        parent if parent == of => format!("{command} (pid {})", child.pid),
        parent => format!("{command} (pid {} of {parent})", child.pid),
    }
}
