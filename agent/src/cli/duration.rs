//! Durations on the command line: `100ms`, `1.5s`, `2m`.

use std::time::Duration;

/// Units and their nanoseconds, longest name first where one ends another.
const UNITS: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration.
///
/// # Errors
/// It is none; the text says how to write one.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write 100ms, 1.5s or 2m");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let (_, size) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    Duration::try_from_secs_f64(number * size / 1e9).map_err(|_| wrong())
}

/// Nanoseconds of a duration; saturates after 584 years.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for (text, ns) in [
            ("100ms", 100_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("250us", 250_000),
            ("7ns", 7),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).map(nanoseconds), Ok(ns), "{text}");
        }
    }

    #[test]
    fn bad() {
        for text in [
            "", "100", "ms", "-1s", "1.2.3s", "1 s", "1d", "1e3s", "inf", ".s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
