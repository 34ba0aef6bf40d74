//! The ids of events, of receipts, of processes and of stores.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::hex_text::HexText;
use crate::{ContentDigest, Digester, Scalar, SourceName, Timestamp};

/// A digest of what identifies an event. Its first 16 bytes are the id of the event. A [`Digester`]
/// determines whether it is computed with a key.
///
/// The length of each field is hashed before the field, so that two different lists of fields never
/// have the same digest. If an `IdDigest` is computed from another one, all 32 bytes of the other
/// one are hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdDigest([u8; 32]);

impl IdDigest {
    /// Computes the digest of the values of the identity fields that the config of the source
    /// names.
    ///
    /// When any of the fields is missing, callers use [`IdDigest::from_digest`] instead. A missing
    /// field must never be replaced by a constant, because then all events without it would have
    /// the same id.
    pub fn from_fields(digester: &Digester, source: &SourceName, fields: &[Scalar]) -> Self {
        let mut parts: Vec<&[u8]> = vec![source.as_str().as_bytes()];
        for field in fields {
            parts.push(field.kind().as_bytes());
            parts.push(field.text().as_bytes());
        }
        hash(digester, "fields", &parts)
    }

    /// Computes the digest of an event whose body lacks an identity field. It is computed from the
    /// content digest of the body.
    pub fn from_digest(digester: &Digester, source: &SourceName, digest: &ContentDigest) -> Self {
        let parts = [source.as_str().as_bytes(), digest.as_bytes()];
        hash(digester, "digest", &parts)
    }

    /// Computes the digest of an event whose type is in a header that the signature does not cover.
    /// `base` is the digest without the type. It is hashed together with the header, so a forged
    /// header can separate events that have the same `base`, but never gives events with different
    /// `base` the same id.
    ///
    /// `value` is the text of the header. The topic cannot be used in its place, because two
    /// different texts may give the same topic.
    pub fn of_typed(digester: &Digester, base: &IdDigest, value: &[u8]) -> Self {
        hash(digester, "type header", &[&base.0, value])
    }

    /// Computes the digest of an event whose provider puts an id of its own into a header that the
    /// signature does not cover. `base` is the digest without this header. It is hashed together
    /// with the header, so a forged header can separate events that have the same `base`, but never
    /// gives events with different `base` the same id.
    pub fn of_delivery(digester: &Digester, base: &IdDigest, value: &[u8]) -> Self {
        hash(digester, "delivery header", &[&base.0, value])
    }

    /// Returns the id of the event.
    pub fn event(&self) -> EventId {
        EventId(self.split().0)
    }

    /// Returns the last 16 bytes of the digest, which are not part of the id of the event.
    pub fn tail(&self) -> [u8; 16] {
        self.split().1
    }

    fn split(&self) -> ([u8; 16], [u8; 16]) {
        let (mut id, mut tail) = ([0; 16], [0; 16]);
        id.copy_from_slice(&self.0[..16]);
        tail.copy_from_slice(&self.0[16..]);
        (id, tail)
    }
}

impl FromStr for IdDigest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

fn hash(digester: &Digester, kind: &str, parts: &[&[u8]]) -> IdDigest {
    let mut hasher = digester.begin(b"hookbox-event-1\0");
    for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
        hasher.update_part(part);
    }
    IdDigest(hasher.finish())
}

/// The id of an event: the first 16 bytes of its [`IdDigest`]. It is written as 32 hex digits.
///
/// A text of 64 hex digits is accepted, too, because that is how earlier versions wrote an id. Its
/// first 32 digits are the id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct EventId([u8; 16]);

impl EventId {
    /// The number of hex digits of an id.
    pub const DIGITS: usize = 32;

    /// The number of hex digits with which earlier versions wrote an id.
    pub const EARLIER_DIGITS: usize = 64;

    /// Computes the id from the values of identity fields; see [`IdDigest::from_fields`].
    pub fn from_fields(digester: &Digester, source: &SourceName, fields: &[Scalar]) -> Self {
        IdDigest::from_fields(digester, source, fields).event()
    }

    /// Computes the id from the content digest of a body; see [`IdDigest::from_digest`].
    pub fn from_digest(digester: &Digester, source: &SourceName, digest: &ContentDigest) -> Self {
        IdDigest::from_digest(digester, source, digest).event()
    }

    /// Computes the id of a conflict: a body that has the event id `original` and differs from the
    /// stored body of that event.
    ///
    /// So a conflict is an event with an id of its own. It is stored, shown and replayed like any
    /// other event. When the provider sends the conflicting request again, that receipt is a
    /// duplicate of the conflict.
    pub fn of_conflict(digester: &Digester, original: &EventId, digest: &ContentDigest) -> Self {
        hash(digester, "conflict", &[&original.0, digest.as_bytes()]).event()
    }

    /// Computes the id under which undecodable bytes from the broker are stored.
    pub fn of_undecodable(digester: &Digester, bytes: &[u8]) -> Self {
        hash(digester, "undecodable", &[bytes]).event()
    }

    /// Creates an id from the 16 bytes that were stored for it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the lowest and the highest id that begin with these hex digits; `None` when no id
    /// can begin with them. Earlier versions wrote ids of 64 digits, so only the first 32 digits of
    /// a longer prefix are used.
    pub fn range_of_prefix(prefix: &str) -> Option<(Self, Self)> {
        let is_hex = prefix.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || prefix.is_empty() || prefix.len() > Self::EARLIER_DIGITS {
            return None;
        }
        let prefix = &prefix[..prefix.len().min(Self::DIGITS)];
        let bound = |fill: char| {
            let digits = prefix.chars().chain(std::iter::repeat(fill));
            digits.take(Self::DIGITS).collect::<String>().parse().ok()
        };
        Some((bound('0')?, bound('f')?))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HexText::of(&self.0).as_str())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", hex::encode(&self.0[..6]))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HexText::of(&self.0).as_str())
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for EventId {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for EventId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == Self::EARLIER_DIGITS {
            return Ok(text.parse::<IdDigest>()?.event());
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// The number that a store gives to an event when it first stores it. The event has the same number
/// on all routes. An event that is stored later has a higher number.
///
/// Numbers are in order of time, and ids are random. In a table whose key is the number, new rows
/// are written at the end of the table; with the id as key, they would be scattered all over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventNumber(i64);

impl EventNumber {
    /// Creates a number from the integer that the store keeps.
    pub const fn from_i64(number: i64) -> Self {
        Self(number)
    }

    /// Returns the integer that the store keeps.
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EventNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(Uuid);

        impl $type {
            /// Creates a new UUIDv7 (RFC 9562 §5.7) from the time `now` and ten random bytes.
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.unix_micros() / 1_000).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// Creates an id from the 16 bytes that were stored for it.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Returns the 16 bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Ok(Self(Uuid::try_parse(text)?))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = uuid::Uuid::encode_buffer();
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut text))
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = uuid::Error;

            fn try_from(text: String) -> Result<Self, uuid::Error> {
                text.parse()
            }
        }
    };
}

uuid_id!(
    /// The id of one accepted request. A provider's retry makes a second receipt of the same event.
    ReceiptId
);
uuid_id!(
    /// The id of one run of a hookbox process, from its start to its end.
    InstanceId
);
uuid_id!(
    /// The id of one incarnation of a store: the time between two restores. A new id is created
    /// with the schema, and each time an operator accepts that the store was restored. It is
    /// random, so that no two stores have the same id.
    Incarnation
);

#[cfg(test)]
mod tests;
