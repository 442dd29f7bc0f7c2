//! Figures as people read them: durations with three significant digits, rates, shares, counts.
//!
//! Pure text; what must stay true: widths are bounded (a duration has at most 7 columns, the others
//! at most 6), and what is not a number says `?`.

/// A duration: `812 ns`, `93.1 µs`, `12.4 ms`, `1.24 s`, `2m 05s`, `3h 07m`, `4d 02h`.
pub(crate) fn duration(ns: u64) -> String {
    const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    if ns >= 100_000_000_000 {
        return long_duration(ns / 1_000_000_000);
    }
    for (unit, size) in UNITS {
        let value = ns as f64 / size;
        // 999.6 µs would read "1000 µs": the next unit says it better.
        if value < 999.5 {
            let digits = if unit == "ns" {
                ns.to_string()
            } else {
                three_digits(value)
            };
            return format!("{digits} {unit}");
        }
    }
    String::new()
}

fn long_duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (hours, days) {
        (0, _) => format!("{minutes}m {:02}s", seconds % 60),
        (_, 0) => format!("{hours}h {:02}m", minutes % 60),
        _ if days < 100 => format!("{days}d {:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

fn three_digits(value: f64) -> String {
    // The limits are where rounding would give a fourth digit.
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A rate per second: `0`, `0.05`, `1.24`, `182`, `1234`, `12.3k`.
pub(crate) fn rate(per_s: f64) -> String {
    if !per_s.is_finite() || per_s < 0.0 {
        "?".to_owned()
    } else if per_s < 0.005 {
        if per_s > 0.0 {
            "<0.01".to_owned()
        } else {
            "0".to_owned()
        }
    } else if per_s < 9999.5 {
        three_digits(per_s)
    } else {
        scaled(per_s)
    }
}

/// A count: `9999`, `12.3k`, `4.56M`.
pub(crate) fn count(n: u64) -> String {
    if n < 10_000 {
        n.to_string()
    } else {
        scaled(n as f64)
    }
}

/// A figure as text, marked where it is a lower bound: `44.0+`.
pub(crate) fn at_least(figure: String, lower_bound: bool) -> String {
    if lower_bound { figure + "+" } else { figure }
}

/// The same of a sum of times; of what took none, it is not known.
pub(crate) fn total(ns: u64, lower_bound: bool) -> String {
    at_least(time_of_one(ns), lower_bound && ns > 0)
}

/// A sum of times that has time of others too, or lacks some that others have: `~44.0`.
pub(crate) fn about(figure: String, shared: bool) -> String {
    if shared && figure != "?" {
        format!("~{figure}")
    } else {
        figure
    }
}

/// How long an operation took; none: that is not known.
pub(crate) fn time_of_one(ns: u64) -> String {
    if ns > 0 { duration(ns) } else { "?".to_owned() }
}

fn scaled(value: f64) -> String {
    for (suffix, size) in [("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)] {
        let text = three_digits(value / size);
        if text != "1000" && text.len() <= 4 {
            return text + suffix;
        }
    }
    format!("{value:.0e}")
}

/// A share of 0 to 1 as percent: `0 %`, `<1 %`, `62 %`.
pub(crate) fn share(part: f64) -> String {
    let percent = part * 100.0;
    if !percent.is_finite() || percent < 0.0 {
        "?".to_owned()
    } else if percent > 0.0 && percent < 0.5 {
        "<1 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

/// Bytes: `812 B`, `12.4 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    if n < 1024 {
        return format!("{n} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 999.5 {
            return format!("{} {unit}", three_digits(value));
        }
    }
    format!("{} TiB", three_digits(value / 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let cases = [
            (0, "0 ns"),
            (812, "812 ns"),
            (93_000, "93.0 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (12_400_000, "12.4 ms"),
            (9_996_000, "10.0 ms"),
            (812_000_000, "812 ms"),
            (999_999_999, "1.00 s"),
            (1_240_000_000, "1.24 s"),
            (99_940_000_000, "99.9 s"),
            (125_000_000_000, "2m 05s"),
            (11_220_000_000_000, "3h 07m"),
            (352_800_000_000_000, "4d 02h"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn widths_are_bounded() {
        let mut n: u64 = 1;
        while n < u64::MAX / 3 {
            for n in [n - 1, n, n + 1] {
                assert!(duration(n).chars().count() <= 7, "{}", duration(n));
                assert!(count(n).chars().count() <= 6, "{}", count(n));
                assert!(
                    rate(n as f64 / 1e3).chars().count() <= 6,
                    "{}",
                    rate(n as f64 / 1e3)
                );
            }
            n = n * 3 / 2 + 1;
        }
    }

    #[test]
    fn rates_and_counts() {
        let cases = [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.05, "0.05"),
            (1.239, "1.24"),
            (182.4, "182"),
        ];
        for (value, text) in cases {
            assert_eq!(rate(value), text);
        }
        assert_eq!(rate(1234.0), "1234");
        assert_eq!(rate(12_345.0), "12.3k");
        assert_eq!(rate(f64::NAN), "?");
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(999_999), "1.00M");
    }

    #[test]
    fn shares_are_never_a_silent_zero() {
        assert_eq!(share(0.0), "0 %");
        assert_eq!(share(0.001), "<1 %");
        assert_eq!(share(0.617), "62 %");
        assert_eq!(share(f64::NAN), "?");
    }

    #[test]
    fn bytes_in_binary_units() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(13 * 1024 * 1024), "13.0 MiB");
    }
}
