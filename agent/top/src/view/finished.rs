//! Finished requests, in details: the slowest with their accounts and operations, the latest in a line each.

use ratatui::text::Span;
use whyslow_proto::v1::{LedgerEntry, Operation, RequestFinished};

use super::{
    Line,
    detail::NOTABLE_NS,
    operations::{WIDE, named},
    overlay::heading,
    paint::account_name,
    programs,
};
use crate::{
    finished::Finished,
    number::{about, at_least, count, duration, share, total},
    palette::Theme,
    rows::{Key, request_line},
    text::{Cut, clean, fit},
};

/// Accounts told of a request.
const ACCOUNTS: usize = 4;
/// Children told of a request.
const CHILDREN: usize = 3;
/// Shapes told of a request.
const SHAPES: usize = 3;
/// Columns before what stands below a request.
const INDENT: usize = 9;

/// `now_ns`: monotonic time of the answer that is shown. `reads`: the agent reads operations.
pub(super) fn lines(
    finished: Option<&Finished>,
    (now_ns, reads): (u64, bool),
    theme: Theme,
    columns: u16,
) -> Vec<Line> {
    let mut page = Page {
        lines: vec![Line::default(), heading(&title(finished), theme)],
        now_ns,
        reads,
        theme,
        columns,
    };
    let Some(finished) = finished else {
        return page.lines;
    };
    if let Some(trouble) = &finished.trouble {
        page.add(&format!(" no more come: {trouble}"), theme.alarm());
    }
    if finished.seen == 0 {
        return page.lines;
    }
    page.titles(finished, "SLOWEST");
    for request in &finished.slowest {
        page.request(finished, request);
        page.accounts(request);
        page.phases(request);
        page.blame(request);
        page.children(request);
        page.operations(request, &finished.key);
    }
    page.lines.push(Line::default());
    page.titles(finished, "LATEST");
    for request in &finished.latest {
        page.request(finished, request);
    }
    page.lines
}

fn title(finished: Option<&Finished>) -> String {
    let seen = finished.map_or(0, |finished| finished.seen);
    let missed = finished.map_or(0, |finished| finished.missed);
    let seen = match seen {
        0 => "none yet".to_owned(),
        n => count(n),
    };
    let mut text = format!("Finished while this is open: {seen}");
    if missed > 0 {
        text += &format!(", and up to {} too fast to be seen", count(missed));
    }
    text
}

struct Page {
    lines: Vec<Line>,
    now_ns: u64,
    reads: bool,
    theme: Theme,
    columns: u16,
}

impl Page {
    fn add(&mut self, text: &str, style: ratatui::style::Style) {
        let text = fit(text, self.columns.into(), Cut::End);
        self.lines.push(Line::from(Span::styled(text, style)));
    }

    /// Of a shape, the first column is the time in it: that is what slow means there.
    fn titles(&mut self, finished: &Finished, kind: &str) {
        let mut titles = format!(" {kind:>7} ");
        if is_of_shape(finished) {
            let order = match kind {
                "SLOWEST" => ", by time in this shape",
                _ => "",
            };
            self.add(&format!(" {kind}{order}"), self.theme.strong());
            titles = format!("{:>8} ", "IN SHAPE");
            if self.columns >= WIDE {
                titles += &format!("{:>7} ", "WALL");
            }
        }
        titles += "CODE ";
        if self.columns >= WIDE {
            titles += &format!("{:>8}{:>7} {:<17} ", "AGO", "OPS", "ACCOUNT");
        }
        titles += "REQUEST";
        self.add(&titles, self.theme.strong());
    }

    fn request(&mut self, finished: &Finished, request: &RequestFinished) {
        let theme = self.theme;
        let (status, style) = match request.status {
            0 => ("---".to_owned(), theme.alarm()),
            status @ 500.. => (status.to_string(), theme.alarm()),
            status => (status.to_string(), theme.text()),
        };
        let first = finished.time(request).unwrap_or(request.wall_ns);
        let mut times = format!(" {:>7} ", duration(first));
        if is_of_shape(finished) && self.columns >= WIDE {
            times += &format!("{:>7} ", duration(request.wall_ns));
        }
        let mut line = Line::from(vec![
            Span::styled(times, theme.text()),
            Span::styled(format!("{status:>4} "), style),
        ]);
        if self.columns >= WIDE {
            let first = match request.ledger.first() {
                Some(entry) => account(request, entry),
                None => clean(&request.binding),
            };
            let first = fit(&first, 17, Cut::End);
            let text = format!(
                "{:>8}{:>7} {first:<17} ",
                self.ago(request),
                self.ops(request)
            );
            line.push_span(Span::styled(text, theme.text()));
        }
        let room = usize::from(self.columns).saturating_sub(line.width());
        let target = clean(&request_line(&request.method, &request.target));
        line.push_span(Span::styled(fit(&target, room, Cut::End), theme.text()));
        self.lines.push(line);
    }

    /// How long ago it ended.
    fn ago(&self, request: &RequestFinished) -> String {
        let ended_ns = request.start_monotonic_ns.saturating_add(request.wall_ns);
        match self.now_ns.saturating_sub(ended_ns) {
            // It ended after the figures were taken.
            0 => "now".to_owned(),
            ns => duration(ns),
        }
    }

    fn ops(&self, request: &RequestFinished) -> String {
        let known = matches!(request.binding.as_str(), "thread" | "handoff");
        if !self.reads || !known {
            return "?".to_owned();
        }
        let counts = request.operations.iter().map(|one| one.count);
        let sampled = request.operations.iter().any(|one| one.sampled);
        at_least(count(counts.fold(0, u64::saturating_add)), sampled)
    }

    fn accounts(&mut self, request: &RequestFinished) {
        let named = request.ledger.iter().take(ACCOUNTS);
        let mut words: Vec<String> = named.map(|entry| account(request, entry)).collect();
        if words.is_empty() {
            words.push(format!("no ledger: {}", clean(&request.binding)));
        }
        if !request.loss.is_empty() {
            words.push(format!("incomplete: {}", clean(&request.loss.join(", "))));
        }
        let text = format!("{}{}", " ".repeat(INDENT), words.join(", "));
        self.add(&text, self.theme.grey());
    }

    /// How long it waited before it was read, and its times with the client, where they are long.
    fn phases(&mut self, request: &RequestFinished) {
        let queued = request.accept_queue_ns.unwrap_or_default();
        let unread = match queued {
            0..NOTABLE_NS => request.socket_queue_ns,
            _ => 0,
        };
        let times = [
            ("queued", queued),
            ("unread", unread),
            ("by its proxy", request.proxy_queue_ns.unwrap_or_default()),
            ("head", request.head_read_ns),
            ("body", request.body_read_ns.unwrap_or_default()),
            ("sent in", request.send_ns),
        ];
        let words: Vec<String> = times
            .into_iter()
            .filter(|(_, ns)| *ns >= NOTABLE_NS)
            .map(|(name, ns)| format!("{name} {}", duration(ns)))
            .collect();
        if !words.is_empty() {
            let text = format!("{}{}", " ".repeat(INDENT), words.join(", "));
            self.add(&text, self.theme.grey());
        }
    }

    /// Who held what it waited for longest, where that is known.
    fn blame(&mut self, request: &RequestFinished) {
        let mut waits = request.waits.iter();
        let held = waits.find_map(|wait| Some((wait, wait.blame()?)));
        if let Some((wait, words)) = held {
            let (account, time) = (account_name(&wait.account), duration(wait.ns));
            let words = clean(&words);
            let text = format!("{}{account} {time}: {words}", " ".repeat(INDENT));
            self.add(&text, self.theme.text());
        }
    }

    /// The longest of what it started.
    fn children(&mut self, request: &RequestFinished) {
        for child in request.children.iter().take(CHILDREN) {
            let name = programs::name(child, request.pid);
            let (time, end) = (duration(child.wall_ns), programs::end(child));
            let text = format!("{}child {name} {time} {end}", " ".repeat(INDENT));
            self.add(text.trim_end(), self.theme.text());
        }
        let rest = request.children.iter().skip(CHILDREN);
        let more: u32 = rest.map(|child| child.count).sum();
        if more > 0 {
            let text = format!("{}… and {more} more children", " ".repeat(INDENT));
            self.add(&text, self.theme.grey());
        }
    }

    /// Those with most time; in the details of a shape, those of that shape.
    fn operations(&mut self, request: &RequestFinished, key: &Key) {
        let told = |one: &&Operation| match key {
            Key::Shape(protocol, shape) => one.protocol == *protocol && one.shape == *shape,
            _ => true,
        };
        for one in request.operations.iter().filter(told).take(SHAPES) {
            let protocol = match self.columns {
                WIDE.. => format!(" {}", clean(&one.protocol)),
                _ => String::new(),
            };
            let trips = one
                .pipelined_words()
                .map_or_else(String::new, |words| format!(" {words}"));
            let figures = format!(
                "{}{} x{protocol}{trips}, {}: ",
                " ".repeat(INDENT),
                at_least(count(one.count), one.sampled),
                about(total(one.total_ns, one.sampled), one.times_shared)
            );
            let shape = (one.is_one_by_one(), one.shape.as_str());
            let figures = fit(&figures, self.columns.into(), Cut::End);
            self.lines
                .push(named(figures, shape, self.theme, self.columns));
        }
        let told = request.operations.iter().filter(told).count();
        let text = match told.saturating_sub(SHAPES) {
            0 => return,
            1 => "… and 1 more shape".to_owned(),
            n => format!("… and {n} more shapes"),
        };
        let text = format!("{}{text}", " ".repeat(INDENT));
        self.add(&text, self.theme.grey());
    }
}

const fn is_of_shape(finished: &Finished) -> bool {
    matches!(finished.key, Key::Shape(..))
}

/// "net.upstream 82 %".
fn account(request: &RequestFinished, entry: &LedgerEntry) -> String {
    let part = share(entry.ns as f64 / request.wall_ns as f64);
    format!("{} {part}", account_name(&entry.account))
}
