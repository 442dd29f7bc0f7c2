//! `google.protobuf.Timestamp` with the JSON that proto3 asks for: RFC 3339, UTC as `Z`, and 0, 3, 6
//! or 9 digits of fraction.
//!
//! Not a date library: it formats, and reads back what it or another proto3 JSON writer wrote.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// A point in wall-clock time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// 9999-12-31T23:59:59Z, the last second that the mapping allows.
const LAST_SECOND: i64 = 253_402_300_799;
/// 0001-01-01T00:00:00Z, the first.
const FIRST_SECOND: i64 = -62_135_596_800;

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub fn from_unix_ns(ns: u64) -> Self {
        Self {
            seconds: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
            nanos: i32::try_from(ns % 1_000_000_000).unwrap_or(0),
        }
    }

    /// Nanoseconds since the Unix epoch; 0 before it, `u64::MAX` when out of range.
    #[must_use]
    pub fn unix_ns(&self) -> u64 {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(self.seconds), u64::try_from(self.nanos))
        else {
            return 0;
        };
        seconds
            .checked_mul(1_000_000_000)
            .and_then(|ns| ns.checked_add(nanos))
            .unwrap_or(u64::MAX)
    }

    /// RFC 3339, or `None` when out of the range of proto3 (years 1 to 9999).
    #[must_use]
    pub fn to_rfc3339(&self) -> Option<String> {
        if !(FIRST_SECOND..=LAST_SECOND).contains(&self.seconds)
            || !(0..1_000_000_000).contains(&self.nanos)
        {
            return None;
        }
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(86_400));
        let second = self.seconds.rem_euclid(86_400);
        let fraction = match self.nanos {
            0 => String::new(),
            nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
            nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
            nanos => format!(".{nanos:09}"),
        };
        Some(format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        ))
    }

    /// Reads RFC 3339 with `Z` or a numeric offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = text.get(range)?;
            digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        let bytes = text.as_bytes();
        if !separators
            .iter()
            .all(|(at, byte)| bytes.get(*at) == Some(byte))
        {
            return None;
        }
        let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?)?;
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (nanos, rest) = fraction(text.get(19..)?)?;
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset(rest)?;
        Some(Self { seconds, nanos })
    }
}

/// Splits `.123Z` into nanoseconds and `Z`.
fn fraction(text: &str) -> Option<(i32, &str)> {
    let Some(text) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let digits = text.get(..end)?;
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    format!("{digits:0<9}")
        .parse()
        .ok()
        .map(|nanos| (nanos, &text[end..]))
}

/// Seconds east of UTC of `Z` or `+01:00`.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

/// Proleptic Gregorian date of a day number (0: 1970-01-01), by eras of 400 years that begin in
/// March, so that the leap day is the last of its year.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Inverse of [`civil_from_days`]; `None` when there is no such date.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let march_year = year - i64::from(month <= 2);
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self
            .to_rfc3339()
            .ok_or_else(|| S::Error::custom("timestamp out of range"))?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_709_210_096, 120_000_000, "2024-02-29T12:34:56.120Z"),
            (1_709_210_096, 120_001_000, "2024-02-29T12:34:56.120001Z"),
            (1_709_210_096, 7, "2024-02-29T12:34:56.000000007Z"),
            (LAST_SECOND, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
            (FIRST_SECOND, 0, "0001-01-01T00:00:00Z"),
        ] {
            let time = Timestamp { seconds, nanos };
            assert_eq!(time.to_rfc3339().as_deref(), Some(text));
            assert_eq!(Timestamp::parse(text), Some(time));
        }
    }

    #[test]
    fn offsets_are_understood() {
        assert_eq!(
            Timestamp::parse("2016-11-08T21:07:09+05:00"),
            Timestamp::parse("2016-11-08T16:07:09Z")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "Z",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00.1234567890Z",
            "2023-01-01 00:00:00Z",
            "2023-01-01T00:00:00+0500",
            "+023-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert_eq!(
            Timestamp {
                seconds: LAST_SECOND + 1,
                nanos: 0
            }
            .to_rfc3339(),
            None
        );
    }

    #[test]
    fn unix_ns_round_trip() {
        let ns = 1_709_210_096_123_456_789;
        assert_eq!(Timestamp::from_unix_ns(ns).unix_ns(), ns);
    }
}
