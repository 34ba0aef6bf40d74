//! Converts hookbox's values to values of PostgreSQL columns, and back.

use std::borrow::Cow;

use hookbox_driver::{ClaimState, storable};
use hookbox_event::{ContentDigest, EventId, EventNumber, KeyDigest, Timestamp};
use sqlx::error::BoxDynError;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// The earliest and the latest time that are stored: the first microsecond of the year 1 and the
/// last of the year 9999. The wire format can carry times that PostgreSQL refuses. A time outside
/// of this range is replaced by the nearest one in it, so that its event can still be stored.
const MICROS_MIN: i64 = -62_135_596_800_000_000;
const MICROS_MAX: i64 = 253_402_300_799_999_999;

/// Converts a time to the type of a `timestamptz` column.
pub(crate) fn moment(at: Timestamp) -> OffsetDateTime {
    let micros = at.unix_micros().clamp(MICROS_MIN, MICROS_MAX);
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Converts untrusted text to text that PostgreSQL can store; see [`storable`].
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    storable(text)
}

/// Converts a count to the type of a `bigint` column; one that is too large becomes the largest.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts the number of an attempt to the type of an `integer` column; one that is too large
/// becomes the largest.
pub(crate) fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Converts numbers of events to the type of a `bigint[]` argument.
pub(crate) fn numbers(events: &[EventNumber]) -> Vec<i64> {
    events.iter().map(|event| event.as_i64()).collect()
}

/// Converts a receipt id or an instance id to a `uuid`.
pub(crate) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

/// Reads the columns of a row as values of hookbox's types. A value that does not belong to the
/// type is a decoding error.
pub(crate) trait Columns {
    fn event(&self, column: &str) -> Result<EventId, Error>;
    fn event_or_none(&self, column: &str) -> Result<Option<EventId>, Error>;
    fn number(&self, column: &str) -> Result<EventNumber, Error>;
    fn key(&self, column: &str) -> Result<KeyDigest, Error>;
    fn digest(&self, column: &str) -> Result<ContentDigest, Error>;
    fn digest_or_none(&self, column: &str) -> Result<Option<ContentDigest>, Error>;
    fn moment(&self, column: &str) -> Result<Timestamp, Error>;
    fn moment_or_none(&self, column: &str) -> Result<Option<Timestamp>, Error>;
    fn count(&self, column: &str) -> Result<u64, Error>;
    fn attempt(&self, column: &str) -> Result<u32, Error>;
    fn attempt_or_none(&self, column: &str) -> Result<Option<u32>, Error>;
    fn id16<T>(&self, column: &str, of: fn([u8; 16]) -> T) -> Result<T, Error>;
    fn word<T, E>(&self, column: &str, read: fn(&str) -> Result<T, E>) -> Result<T, Error>
    where
        E: Into<BoxDynError>;
    fn known<T>(&self, column: &str, read: fn(&str) -> Option<T>) -> Result<T, Error>;
}

impl Columns for PgRow {
    fn event(&self, column: &str) -> Result<EventId, Error> {
        exactly(self, column).map(EventId::from_bytes)
    }

    fn event_or_none(&self, column: &str) -> Result<Option<EventId>, Error> {
        let bytes: Option<&[u8]> = self.try_get(column)?;
        bytes.map(|_| self.event(column)).transpose()
    }

    fn number(&self, column: &str) -> Result<EventNumber, Error> {
        self.try_get(column).map(EventNumber::from_i64)
    }

    fn key(&self, column: &str) -> Result<KeyDigest, Error> {
        exactly(self, column).map(KeyDigest::from_bytes)
    }

    fn digest(&self, column: &str) -> Result<ContentDigest, Error> {
        exactly(self, column).map(ContentDigest::from_bytes)
    }

    fn digest_or_none(&self, column: &str) -> Result<Option<ContentDigest>, Error> {
        let bytes: Option<&[u8]> = self.try_get(column)?;
        bytes.map(|_| self.digest(column)).transpose()
    }

    fn moment(&self, column: &str) -> Result<Timestamp, Error> {
        self.try_get(column).map(timestamp)
    }

    fn moment_or_none(&self, column: &str) -> Result<Option<Timestamp>, Error> {
        let at: Option<OffsetDateTime> = self.try_get(column)?;
        Ok(at.map(timestamp))
    }

    fn count(&self, column: &str) -> Result<u64, Error> {
        let count: i64 = self.try_get(column)?;
        u64::try_from(count).map_err(|error| undecodable(column, error))
    }

    fn attempt(&self, column: &str) -> Result<u32, Error> {
        let attempt: i32 = self.try_get(column)?;
        u32::try_from(attempt).map_err(|error| undecodable(column, error))
    }

    fn attempt_or_none(&self, column: &str) -> Result<Option<u32>, Error> {
        let attempt: Option<i32> = self.try_get(column)?;
        attempt.map(|_| self.attempt(column)).transpose()
    }

    fn id16<T>(&self, column: &str, of: fn([u8; 16]) -> T) -> Result<T, Error> {
        let id: Uuid = self.try_get(column)?;
        Ok(of(id.into_bytes()))
    }

    fn word<T, E>(&self, column: &str, read: fn(&str) -> Result<T, E>) -> Result<T, Error>
    where
        E: Into<BoxDynError>,
    {
        let word: &str = self.try_get(column)?;
        read(word).map_err(|error| undecodable(column, error))
    }

    fn known<T>(&self, column: &str, read: fn(&str) -> Option<T>) -> Result<T, Error> {
        let word: &str = self.try_get(column)?;
        read(word).ok_or_else(|| undecodable(column, format!("unknown value {word:?}")))
    }
}

/// Parses a claim state as it is stored in a column; `None` when the text is not a claim state.
pub(crate) fn claim_state(word: &str) -> Option<ClaimState> {
    [
        ClaimState::Running,
        ClaimState::Done,
        ClaimState::Retrying,
        ClaimState::Dead,
        ClaimState::Stale,
    ]
    .into_iter()
    .find(|state| state.as_str() == word)
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    let micros = at.unix_timestamp_nanos() / 1_000;
    Timestamp::from_unix_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

fn exactly<const N: usize>(row: &PgRow, column: &str) -> Result<[u8; N], Error> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes
        .try_into()
        .map_err(|error: std::array::TryFromSliceError| undecodable(column, error))
}

fn undecodable(column: &str, source: impl Into<BoxDynError>) -> Error {
    Error::ColumnDecode {
        index: column.to_owned(),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_moment_can_be_kept() {
        for micros in [i64::MIN, MICROS_MIN, -1, 0, 1, MICROS_MAX, i64::MAX] {
            let kept = timestamp(moment(Timestamp::from_unix_micros(micros)));
            assert_eq!(kept.unix_micros(), micros.clamp(MICROS_MIN, MICROS_MAX));
        }
    }

    #[test]
    fn a_nul_is_escaped() {
        assert_eq!(text("a\0b"), "a\\u{0}b");
        assert_eq!(text("ab"), "ab");
    }
}
