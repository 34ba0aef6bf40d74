//! The ids of events, of receipts, of processes and of stores.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::hex_text::HexText;
use crate::{ContentDigest, Scalar, SourceName, Timestamp};

/// The id of an event: a SHA-256 digest of the source and the identity fields of the body. The
/// length of each field is hashed before the field, so that two different lists of fields never
/// have the same id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct EventId([u8; 32]);

impl EventId {
    /// Computes the id from the values of the identity fields that the config of the source names.
    ///
    /// When any of the fields is missing, callers use [`EventId::from_digest`] instead. A missing
    /// field must never be replaced by a constant, because then all events without it would have
    /// the same id.
    pub fn from_fields(source: &SourceName, fields: &[Scalar]) -> Self {
        let mut parts: Vec<&[u8]> = vec![source.as_str().as_bytes()];
        for field in fields {
            parts.push(field.kind().as_bytes());
            parts.push(field.text().as_bytes());
        }
        Self(hash("fields", &parts))
    }

    /// Computes the id of an event whose body lacks an identity field. It is computed from the
    /// content digest of the body.
    pub fn from_digest(source: &SourceName, digest: &ContentDigest) -> Self {
        Self(hash(
            "digest",
            &[source.as_str().as_bytes(), digest.as_bytes()],
        ))
    }

    /// Computes the id of an event whose type is in a header that the signature does not cover.
    /// `base` is the id without the type. So the header only separates events that have the same
    /// `base`, and never gives events with different `base` the same id.
    ///
    /// `value` is the text of the header. The topic that is made from it would not do, because two
    /// different texts may give the same topic.
    pub fn of_typed(base: &EventId, value: &[u8]) -> Self {
        Self(hash("type header", &[&base.0, value]))
    }

    /// Computes the id of an event whose provider puts an id of its own into a header that the
    /// signature does not cover. `base` is the id without this header. So the header only separates
    /// events that have the same `base`, and never gives events with different `base` the same id.
    pub fn of_delivery(base: &EventId, value: &[u8]) -> Self {
        Self(hash("delivery header", &[&base.0, value]))
    }

    /// Computes the id of a conflict: a body that has the event id `original` and differs from the
    /// stored body of that event.
    ///
    /// So a conflict is an event with an id of its own. It is stored, shown and replayed like any
    /// other event. When the provider sends the conflicting request again, that receipt is a
    /// duplicate of the conflict.
    pub fn of_conflict(original: &EventId, digest: &ContentDigest) -> Self {
        Self(hash("conflict", &[&original.0, digest.as_bytes()]))
    }

    /// Computes the id under which bytes from the broker are stored that are not an envelope.
    pub fn of_undecodable(bytes: &[u8]) -> Self {
        Self(hash("undecodable", &[bytes]))
    }

    /// Creates an id from the 32 bytes that were stored for it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn hash(kind: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"hookbox-event-1\0");
    for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
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
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
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
mod tests {
    use super::*;

    fn source(name: &str) -> SourceName {
        name.parse().expect("a valid name")
    }

    fn text(value: &str) -> Scalar {
        Scalar::String(value.into())
    }

    #[test]
    fn fields_cannot_run_into_each_other() {
        let begini = source("begini");
        let split = [text("ab"), text("c")];
        let other = [text("a"), text("bc")];
        assert_ne!(
            EventId::from_fields(&begini, &split),
            EventId::from_fields(&begini, &other)
        );
        assert_ne!(
            EventId::from_fields(&begini, &[text("1")]),
            EventId::from_fields(&begini, &[Scalar::Number("1".into())]),
        );
        assert_ne!(
            EventId::from_fields(&begini, &split),
            EventId::from_fields(&source("begini2"), &split),
        );
    }

    #[test]
    fn an_event_id_is_stable() {
        // Event ids are stored permanently, so the same input must always give the same id.
        let id = EventId::from_fields(&source("begini"), &[text("1"), text("u"), text("t")]);
        assert_eq!(
            id.to_string(),
            "85d0a4f83619a804ab7c3e0a7b1e1e077425290b894a8cdf95b8dfd5326bcfb6"
        );
        assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
    }

    #[test]
    fn what_a_header_says_is_never_an_identity_by_itself() {
        let base = |n: u8| EventId::from_bytes([n; 32]);
        let ids = [
            base(1),
            EventId::of_typed(&base(1), b"push"),
            EventId::of_typed(&base(1), b"pull"),
            EventId::of_typed(&base(2), b"push"),
            EventId::of_delivery(&base(1), b"push"),
            EventId::of_delivery(&base(2), b"push"),
            EventId::of_typed(&EventId::of_delivery(&base(1), b"push"), b"push"),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(
            [ids[1], ids[4]].map(|id| id.to_string()),
            [
                "ae716f17ef010069d627387bc3092c76822687a230c8ab59aa45d4035da8d179",
                "22f6013af335abf1438b59e4ad66488a73dc3d83c652d6293b245d449fc231e3",
            ]
        );
    }

    #[test]
    fn receipts_sort_by_time() {
        let early = ReceiptId::new(Timestamp::from_unix_micros(1_000_000), [0xff; 10]);
        let late = ReceiptId::new(Timestamp::from_unix_micros(2_000_000), [0; 10]);
        assert!(early < late);
        assert_eq!(early.to_string().parse::<ReceiptId>(), Ok(early));
    }
}
