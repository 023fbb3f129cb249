//! Wall-clock times and lengths of time, as data. Nothing here reads a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970-01-01T00:00:00Z; written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, schemars::JsonSchema)]
#[schemars(with = "String")]
pub struct Timestamp(i64);

/// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z: the first and the last time that can be written.
const FIRST: i64 = -62_167_219_200_000;
const LAST: i64 = 253_402_300_799_999;

/// Why a text is neither a time nor a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {1}")]
pub struct BadTime(String, &'static str);

impl Timestamp {
    /// The time that many milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The time that many seconds after the epoch; saturates.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds after the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds after the epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The date in UTC as `YYYY-MM-DD`: names the daily audit file.
    #[must_use]
    pub fn date(self) -> String {
        self.to_string().chars().take(10).collect()
    }

    /// RFC 3339 has four digits for the year: what is beyond the last of them stays far away when it is written.
    fn as_offset(self) -> OffsetDateTime {
        let millis = self.0.clamp(FIRST, LAST);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, length: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, length: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.as_offset();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }
}

impl FromStr for Timestamp {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Self, BadTime> {
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|t| i64::try_from(t.unix_timestamp_nanos().div_euclid(1_000_000)).ok())
            .map(Timestamp)
            .ok_or_else(|| {
                BadTime(text.chars().take(64).collect(), "an RFC 3339 time such as 2026-01-03T03:58:20Z")
            })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A length of time people write as `30m`, `1h30m0s`, `12h` or `45s` (Go's form: h, m, s, ms; at least one unit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, schemars::JsonSchema)]
#[schemars(with = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let bad = || BadTime(text.chars().take(64).collect(), "a length of time such as 30m, 12h or 1h30m");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| bad())?;
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let millis = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(bad()),
            };
            let part = Duration::from_millis(number.checked_mul(millis).ok_or_else(bad)?);
            total = total.checked_add(part).ok_or_else(bad)?;
            rest = tail;
        }
        Ok(Span(total))
    }
}

impl fmt::Display for Span {
    /// Writes Go's form: `12h0m0s`, `1m30s`, `250ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (h, m, s, ms) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60, millis % 1000);
        match (h, m, s, ms) {
            (0, 0, 0, ms) if ms > 0 => write!(f, "{ms}ms"),
            (0, 0, s, _) => write!(f, "{s}s"),
            (0, m, s, _) => write!(f, "{m}m{s}s"),
            (h, m, s, _) => write!(f, "{h}h{m}m{s}s"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_time_round_trips_through_rfc_3339() {
        let at = Timestamp::from_millis(1_767_383_900_123);

        assert_eq!(at.to_string(), "2026-01-02T19:58:20.123Z");
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        assert_eq!("2026-01-03T03:58:20.123+08:00".parse::<Timestamp>().unwrap(), at);
    }

    #[test]
    fn a_time_that_cannot_be_written_is_written_as_the_nearest_that_can() {
        for (millis, text) in [
            (LAST, "9999-12-31T23:59:59.999Z"),
            (LAST + 1, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (FIRST, "0000-01-01T00:00:00.000Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
        ] {
            let written = Timestamp(millis).to_string();

            assert_eq!(written, text);
            assert_eq!(written.parse(), Ok(Timestamp(millis.clamp(FIRST, LAST))));
        }
    }

    #[test]
    fn lengths_read_as_people_write_them() {
        for (text, secs) in
            [("30m", 1800), ("1h30m", 5400), ("1h0m0s", 3600), ("12h", 43_200), ("5s", 5), ("2d", 172_800)]
        {
            assert_eq!(text.parse::<Span>().unwrap().0, Duration::from_secs(secs), "{text}");
        }
        for bad in ["", "5", "h", "5 m", "-5m", "99999999999999999999h", "5x"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_print_in_gos_form() {
        assert_eq!(Span(Duration::from_secs(43_200)).to_string(), "12h0m0s");
        assert_eq!(Span(Duration::from_secs(90)).to_string(), "1m30s");
    }
}
