//! The witness message: a summary of what a store has recorded, which is kept at the broker. It
//! shows later whether the store was restored to an older state, or the broker was replaced.
//!
//! A worker publishes a witness message only after the store has committed it. So when the broker
//! holds a witness message that the store does not know, the store was restored to an older state.
//! Every version of the format that was ever written has a golden file in `schemas/wire/`.
//!
//! ```text
//! witness = "HKBW" version:u8 json      readers ignore members they do not know
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{Incarnation, InstanceId, RouteName, Timestamp, WireError};

const MAGIC: &[u8; 4] = b"HKBW";

/// The version of the witness message that this build writes.
pub const WITNESS_VERSION: u8 = 1;

/// The largest sequence number of a witness message. The store keeps it in a signed 64-bit integer.
const SEQUENCE_MAX: u64 = i64::MAX as u64 - 1;

/// A summary of what a store had recorded when it committed this witness message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The incarnation of the store, which is the time between two of its restores.
    pub store: Incarnation,
    /// The sequence number of the witness message. A store numbers its witness messages from 1, and
    /// each number is larger than the one before.
    pub sequence: u64,
    /// When the store committed the witness message, by the clock of the store.
    pub at: Timestamp,
    /// The number of receipts that ingests had reported to the store.
    pub receipts: u64,
    /// For each of the newest ingests, the highest sequence number that it had reported to the
    /// store.
    pub ingests: Vec<ReportedUpTo>,
    /// The routes that have queues at the broker.
    pub routes: Vec<RouteName>,
}

/// The highest sequence number that one ingest has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedUpTo {
    /// The ingest process that sent the reports.
    pub instance: InstanceId,
    /// The highest sequence number that the ingest process has reported.
    pub number: u64,
}

impl Witness {
    /// Returns the encoded witness message.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(MAGIC);
        bytes.put_u8(WITNESS_VERSION);
        // The witness message consists of texts and numbers only, so serialising it cannot fail.
        bytes.put_slice(&serde_json::to_vec(self).unwrap_or_default());
        bytes.freeze()
    }

    /// Decodes a witness message of any version that [`Witness::encode`] has ever written.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(WireError::NotABatch)?;
        let (version, json) = rest.split_first().ok_or(WireError::Truncated)?;
        if *version != WITNESS_VERSION {
            return Err(WireError::UnknownVersion(*version));
        }
        let witness: Self = serde_json::from_slice(json).map_err(|error| WireError::BadHeader {
            column: error.column(),
        })?;
        if (1..=SEQUENCE_MAX).contains(&witness.sequence) {
            Ok(witness)
        } else {
            Err(WireError::Truncated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../schemas/wire/witnesses/witness-v1.hex");

    fn witness() -> Witness {
        let now = Timestamp::from_unix_micros(1_764_000_000_000_000);
        Witness {
            store: Incarnation::from_bytes([4; 16]),
            sequence: 12,
            at: now,
            receipts: 650,
            ingests: vec![ReportedUpTo {
                instance: InstanceId::new(now, [9; 10]),
                number: 651,
            }],
            routes: vec!["scores".parse().expect("the route name must be valid")],
        }
    }

    #[test]
    fn the_golden_witness_is_read_and_written() {
        let golden: String = GOLDEN.split_whitespace().collect();
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/wire/witnesses");
            let text = hex::encode(witness().encode()) + "\n";
            std::fs::write(format!("{folder}/witness-v1.hex"), text)
                .expect("the golden file must be writable");
            return;
        }
        assert_eq!(hex::encode(witness().encode()), golden);
        let bytes = hex::decode(golden).expect("the text must be hex");
        assert_eq!(Witness::decode(&bytes), Ok(witness()));
    }

    #[test]
    fn a_damaged_witness_is_refused() {
        let bytes = witness().encode();
        assert_eq!(Witness::decode(b"HKBA\x01"), Err(WireError::NotABatch));
        assert_eq!(Witness::decode(b"HKBW"), Err(WireError::Truncated));
        assert_eq!(
            Witness::decode(b"HKBW\x09{}"),
            Err(WireError::UnknownVersion(9))
        );
        assert!(Witness::decode(&bytes[..bytes.len() - 1]).is_err());
        for sequence in [0, u64::MAX] {
            let bad = Witness {
                sequence,
                ..witness()
            };
            assert_eq!(Witness::decode(&bad.encode()), Err(WireError::Truncated));
        }
    }
}
