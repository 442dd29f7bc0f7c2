//! Lines for people on what a finished request asked of servers.

use std::fmt::Write as _;

use whyslow_proto::v1;
use whyslow_top::printable;

use super::text::duration;

/// Shapes of operations shown for each request.
const SHAPES: usize = 5;
/// Characters of a shape that are shown.
pub(super) const SHAPE_WIDTH: usize = 120;

/// What a request asked of servers, most time first: a line for each of the first shapes.
pub(super) fn operations(operations: &[v1::Operation], out: &mut Vec<u8>) {
    let (shown, hidden) = operations.split_at(operations.len().min(SHAPES));
    for one in shown {
        out.extend(format!("  {}\n", printable(&operation(one))).bytes());
    }
    if hidden.is_empty() {
        return;
    }
    let shapes = if hidden.len() == 1 { "shape" } else { "shapes" };
    let mut line = format!("  … and {} more {shapes}", hidden.len());
    let repeated = hidden.iter().filter(|one| one.is_one_by_one()).count();
    if repeated > 0 {
        let _ = write!(line, ", {repeated} repeated");
    }
    out.extend(line.bytes());
    out.push(b'\n');
}

fn operation(operation: &v1::Operation) -> String {
    let mut line = format!("{}  x{}", operation.protocol, operation.count);
    if operation.sampled {
        line.push_str(" or more");
    }
    if operation.is_one_by_one() {
        line.push_str(" repeated");
    } else if let Some(words) = operation.pipelined_words() {
        let _ = write!(line, " {words}");
    }
    if operation.total_ns > 0 {
        let _ = write!(line, "  {}", duration(operation.total_ns));
    }
    if operation.times_shared {
        line.push_str(" together with others");
    }
    if operation.count > 1 && operation.slowest_ns > 0 {
        let _ = write!(line, " (slowest {})", duration(operation.slowest_ns));
    }
    if operation.errors > 0 {
        let or_more = if operation.is_errors_at_least() {
            " or more"
        } else {
            ""
        };
        let _ = write!(line, "  {}{or_more} failed", operation.errors);
        if !operation.last_error.is_empty() {
            let _ = write!(line, " ({})", operation.last_error);
        }
    }
    if operation.errors == 0 && operation.answers_sampled && !operation.sampled {
        line.push_str("  failures not all seen");
    }
    line.push_str("  ");
    match operation.shape.char_indices().nth(SHAPE_WIDTH) {
        Some((end, _)) => {
            line.push_str(&operation.shape[..end]);
            line.push('…');
        }
        None => line.push_str(&operation.shape),
    }
    line
}
