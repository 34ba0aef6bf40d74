//! Reads typed values from columns. A value that this version of hookbox does not know is an error,
//! and is never replaced by a guess.

use std::error::Error;
use std::fmt::{Display, Write as _};

use bytes::Bytes;
use hookbox_driver::{ClaimState, DeadReason, DeadState, DeferReason, EndOutcome};
use hookbox_event::{
    ContentDigest, EventId, EventNumber, InstanceId, ReceiptId, Timestamp, Version,
};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// Reads a column by its name. Each method is named after the type of the value that it returns.
pub(crate) trait Columns {
    fn event(&self, name: &str) -> sqlx::Result<EventId>;
    fn event_or_none(&self, name: &str) -> sqlx::Result<Option<EventId>>;
    fn event_number(&self, name: &str) -> sqlx::Result<EventNumber>;
    fn digest(&self, name: &str) -> sqlx::Result<ContentDigest>;
    fn digest_or_none(&self, name: &str) -> sqlx::Result<Option<ContentDigest>>;
    fn receipt(&self, name: &str) -> sqlx::Result<ReceiptId>;
    fn instance(&self, name: &str) -> sqlx::Result<InstanceId>;
    fn id16(&self, name: &str) -> sqlx::Result<[u8; 16]>;
    fn moment(&self, name: &str) -> sqlx::Result<Timestamp>;
    fn moment_or_none(&self, name: &str) -> sqlx::Result<Option<Timestamp>>;
    fn count(&self, name: &str) -> sqlx::Result<u64>;
    fn attempt(&self, name: &str) -> sqlx::Result<u32>;
    fn attempt_or_none(&self, name: &str) -> sqlx::Result<Option<u32>>;
    fn bytes(&self, name: &str) -> sqlx::Result<Bytes>;
    fn text(&self, name: &str) -> sqlx::Result<String>;
    fn text_or_none(&self, name: &str) -> sqlx::Result<Option<String>>;
    fn claim_state(&self, name: &str) -> sqlx::Result<ClaimState>;
    fn dead_state(&self, name: &str) -> sqlx::Result<DeadState>;
    fn dead_reason(&self, name: &str) -> sqlx::Result<DeadReason>;
    fn defer_reason(&self, name: &str) -> sqlx::Result<DeferReason>;
    fn end_outcome(&self, name: &str) -> sqlx::Result<EndOutcome>;
    fn version(&self, name: &str) -> sqlx::Result<Version>;
    /// Reads a name or a topic from its text.
    fn parsed<T>(&self, name: &str) -> sqlx::Result<T>
    where
        T: std::str::FromStr,
        T::Err: Error + Send + Sync + 'static;
}

impl Columns for SqliteRow {
    fn event(&self, name: &str) -> sqlx::Result<EventId> {
        Ok(EventId::from_bytes(exactly(self, name)?))
    }

    fn event_or_none(&self, name: &str) -> sqlx::Result<Option<EventId>> {
        let bytes: Option<&[u8]> = self.try_get(name)?;
        bytes.map(|_| self.event(name)).transpose()
    }

    fn event_number(&self, name: &str) -> sqlx::Result<EventNumber> {
        Ok(EventNumber::from_i64(self.try_get(name)?))
    }

    fn digest(&self, name: &str) -> sqlx::Result<ContentDigest> {
        Ok(ContentDigest::from_bytes(exactly(self, name)?))
    }

    fn digest_or_none(&self, name: &str) -> sqlx::Result<Option<ContentDigest>> {
        let bytes: Option<&[u8]> = self.try_get(name)?;
        bytes.map(|_| self.digest(name)).transpose()
    }

    fn receipt(&self, name: &str) -> sqlx::Result<ReceiptId> {
        Ok(ReceiptId::from_bytes(exactly(self, name)?))
    }

    fn instance(&self, name: &str) -> sqlx::Result<InstanceId> {
        Ok(InstanceId::from_bytes(exactly(self, name)?))
    }

    fn id16(&self, name: &str) -> sqlx::Result<[u8; 16]> {
        exactly(self, name)
    }

    fn moment(&self, name: &str) -> sqlx::Result<Timestamp> {
        Ok(Timestamp::from_unix_micros(self.try_get(name)?))
    }

    fn moment_or_none(&self, name: &str) -> sqlx::Result<Option<Timestamp>> {
        let micros: Option<i64> = self.try_get(name)?;
        Ok(micros.map(Timestamp::from_unix_micros))
    }

    fn count(&self, name: &str) -> sqlx::Result<u64> {
        let number: i64 = self.try_get(name)?;
        u64::try_from(number).map_err(|error| decode(name, error))
    }

    fn attempt(&self, name: &str) -> sqlx::Result<u32> {
        let number: i64 = self.try_get(name)?;
        u32::try_from(number).map_err(|error| decode(name, error))
    }

    fn attempt_or_none(&self, name: &str) -> sqlx::Result<Option<u32>> {
        let number: Option<i64> = self.try_get(name)?;
        number.map(|_| self.attempt(name)).transpose()
    }

    fn bytes(&self, name: &str) -> sqlx::Result<Bytes> {
        let bytes: Vec<u8> = self.try_get(name)?;
        Ok(bytes.into())
    }

    fn text(&self, name: &str) -> sqlx::Result<String> {
        self.try_get(name)
    }

    fn text_or_none(&self, name: &str) -> sqlx::Result<Option<String>> {
        self.try_get(name)
    }

    fn claim_state(&self, name: &str) -> sqlx::Result<ClaimState> {
        use ClaimState::{Dead, Done, Retrying, Running, Stale};
        word(
            self,
            name,
            &[Running, Done, Retrying, Dead, Stale],
            ClaimState::as_str,
        )
    }

    fn dead_state(&self, name: &str) -> sqlx::Result<DeadState> {
        word(self, name, &DeadState::ALL, DeadState::as_str)
    }

    fn dead_reason(&self, name: &str) -> sqlx::Result<DeadReason> {
        word(self, name, &DeadReason::ALL, DeadReason::as_str)
    }

    fn defer_reason(&self, name: &str) -> sqlx::Result<DeferReason> {
        word(self, name, &DeferReason::ALL, DeferReason::as_str)
    }

    fn end_outcome(&self, name: &str) -> sqlx::Result<EndOutcome> {
        word(self, name, &EndOutcome::ALL, EndOutcome::as_str)
    }

    fn version(&self, name: &str) -> sqlx::Result<Version> {
        let text: &str = self.try_get(name)?;
        Version::from_stored(text).ok_or_else(|| decode(name, "not a version"))
    }

    fn parsed<T>(&self, name: &str) -> sqlx::Result<T>
    where
        T: std::str::FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        let text: &str = self.try_get(name)?;
        text.parse().map_err(|error| decode(name, error))
    }
}

fn exactly<const N: usize>(row: &SqliteRow, name: &str) -> sqlx::Result<[u8; N]> {
    let bytes: &[u8] = row.try_get(name)?;
    bytes.try_into().map_err(|error| decode(name, error))
}

fn word<T: Copy>(
    row: &SqliteRow,
    name: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> sqlx::Result<T> {
    let found: &str = row.try_get(name)?;
    all.iter()
        .copied()
        .find(|one| as_str(*one) == found)
        .ok_or_else(|| decode(name, "not a value that this hookbox knows"))
}

fn decode(name: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: name.to_owned(),
        source: error.into(),
    }
}

/// Returns ids as a JSON list of hex texts. A statement binds the list as one parameter, and reads
/// the ids with SQLite's `json_each` and `unhex(value)`. So one statement text serves lists of
/// every length.
pub(crate) fn hex_list(ids: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    json_list(ids.into_iter().map(|id| hex(id.as_ref())))
}

/// Returns row ids as a JSON list, which a statement reads with SQLite's `json_each`.
pub(crate) fn number_list(ids: impl IntoIterator<Item = i64>) -> String {
    json_list(ids)
}

/// Returns numbers of events as a JSON list, like [`number_list`].
pub(crate) fn numbers(events: &[EventNumber]) -> String {
    json_list(events)
}

/// Returns a JSON list of these elements. The text of each must be valid JSON.
pub(crate) fn json_list(elements: impl IntoIterator<Item = impl Display>) -> String {
    let mut list = String::from("[");
    for element in elements {
        if list.len() > 1 {
            list.push(',');
        }
        // Writing to a `String` never fails.
        let _ = write!(list, "{element}");
    }
    list.push(']');
    list
}

/// Returns an id as a JSON text of hex digits.
pub(crate) fn hex(id: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * id.len() + 2);
    text.push('"');
    for byte in id {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.push('"');
    text
}
