//! Points in time with microsecond resolution, the resolution of PostgreSQL's `timestamptz`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time in microseconds since 1970-01-01T00:00:00Z. It is displayed in the format of RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates the time that is `micros` microseconds after the Unix epoch.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the Unix epoch.
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Adds a duration. A result beyond the largest time becomes the largest time.
    pub fn saturating_add(self, while_: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the time that has passed since `earlier`; zero when `earlier` is later than this
    /// time.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses a time in the format of RFC 3339.
    pub fn parse_rfc3339(text: &str) -> Result<Self, time::error::Parse> {
        let moment = OffsetDateTime::parse(text, &Rfc3339)?;
        // The year has four digits, so the time always fits into 64 bits of microseconds, and
        // `i64::MAX` is never used here.
        Ok(Self(
            i64::try_from(moment.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX),
        ))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}µs", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_again() {
        let moment = Timestamp::from_unix_micros(1_764_000_000_123_456);
        assert_eq!(moment.to_string(), "2025-11-24T16:00:00.123456Z");
        assert_eq!(Timestamp::parse_rfc3339(&moment.to_string()), Ok(moment));
        assert_eq!(Timestamp::from_unix_micros(-1).unix_seconds(), -1);
    }
}
