//! The accept report: an ingest reports in it which receipts it has accepted. The store compares
//! the reports with the outcomes, so that a lost receipt is noticed.
//!
//! Each ingest numbers the receipts that it publishes, from 1 and without a gap. An accept report
//! covers a range of these sequence numbers. It lists those receipts of the range that the broker
//! has confirmed, and that were therefore answered with 200. Every other number of the range is
//! void. The next report covers the next range. Every version of the format that was ever written
//! has a golden file in `schemas/wire/`. On the wire, an accept report is called an account.
//!
//! ```text
//! account = "HKBA" version:u8 json   readers ignore members they do not know
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{InstanceId, ReceiptId, RouteName, WireError};

const MAGIC: &[u8; 4] = b"HKBA";

/// The version of the accept report that this build writes.
pub const ACCOUNT_VERSION: u8 = 1;

/// The largest sequence number. The store keeps sequence numbers in signed 64-bit integers. An
/// ingest that numbers a million events a second would reach the limit in 292,000 years, so bytes
/// that contain a larger number are corrupt.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;

/// The accept report of one ingest for a range of its sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The ingest process that writes the report.
    pub instance: InstanceId,
    /// The first sequence number that the report covers.
    pub first: u64,
    /// The last sequence number that the report covers. Each number of the range is either accepted
    /// or void.
    pub last: u64,
    /// Whether this is the last report of the ingest process, which it publishes after it has
    /// drained.
    pub closing: bool,
    /// The receipts that the broker has confirmed. Sequence numbers of the range that no entry
    /// contains are void.
    pub accepted: Vec<Accepted>,
}

/// Receipts of one range of sequence numbers that were published to the same routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The routes to which these receipts were published.
    pub routes: Vec<RouteName>,
    /// The sequence number of the first of these receipts.
    pub first: u64,
    /// The receipts, in the order of their sequence numbers.
    pub receipts: Vec<ReceiptId>,
}

impl Account {
    /// Returns the encoded accept report.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(MAGIC);
        bytes.put_u8(ACCOUNT_VERSION);
        // The report consists of texts and numbers only, which JSON can always represent.
        bytes.put_slice(&serde_json::to_vec(self).unwrap_or_default());
        bytes.freeze()
    }

    /// Decodes an accept report of any version that [`Account::encode`] has ever written.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(WireError::NotABatch)?;
        let (version, json) = rest.split_first().ok_or(WireError::Truncated)?;
        if *version != ACCOUNT_VERSION {
            return Err(WireError::UnknownVersion(*version));
        }
        let account: Self = serde_json::from_slice(json).map_err(|error| WireError::BadHeader {
            column: error.column(),
        })?;
        if account.is_sound() {
            Ok(account)
        } else {
            Err(WireError::Truncated)
        }
    }

    /// Returns whether every accepted number is within the range of the report and occurs only
    /// once.
    fn is_sound(&self) -> bool {
        let mut next = self.first;
        for run in &self.accepted {
            let count = run.receipts.len() as u64;
            if run.first < next {
                return false;
            }
            let Some(after) = run.first.checked_add(count) else {
                return false;
            };
            next = after;
        }
        let is_range = self.first >= 1 && self.last <= NUMBER_MAX && self.first <= self.last + 1;
        is_range && next <= self.last + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    const GOLDEN: &str = include_str!("../../../schemas/wire/accounts/account-v1.hex");

    fn account() -> Account {
        let now = Timestamp::from_unix_micros(1_764_000_000_000_000);
        let receipt = |number| ReceiptId::new(now, [number; 10]);
        let routes = |names: &[&str]| {
            names
                .iter()
                .map(|it| it.parse().expect("the route name must be valid"))
                .collect()
        };
        Account {
            instance: InstanceId::new(now, [9; 10]),
            first: 4,
            last: 9,
            closing: true,
            accepted: vec![
                Accepted {
                    routes: routes(&["scores", "audit"]),
                    first: 4,
                    receipts: vec![receipt(1), receipt(2)],
                },
                Accepted {
                    routes: routes(&["scores"]),
                    first: 9,
                    receipts: vec![receipt(3)],
                },
            ],
        }
    }

    #[test]
    fn the_golden_accept_report_is_decoded_and_encoded() {
        let golden: String = GOLDEN.split_whitespace().collect();
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/wire/accounts");
            let text = hex::encode(account().encode()) + "\n";
            std::fs::write(format!("{folder}/account-v1.hex"), text)
                .expect("the golden file must be writable");
            return;
        }
        assert_eq!(hex::encode(account().encode()), golden);
        let bytes = hex::decode(golden).expect("the text must be hex");
        assert_eq!(Account::decode(&bytes), Ok(account()));
    }

    #[test]
    fn a_damaged_accept_report_is_refused() {
        let bytes = account().encode();
        assert_eq!(Account::decode(b"HKBX\x01"), Err(WireError::NotABatch));
        assert_eq!(Account::decode(b"HKBA"), Err(WireError::Truncated));
        assert_eq!(
            Account::decode(b"HKBA\x09{}"),
            Err(WireError::UnknownVersion(9))
        );
        assert!(Account::decode(&bytes[..bytes.len() - 1]).is_err());
        for change in [
            |it: &mut Account| it.first = 5,
            |it: &mut Account| it.last = 8,
            |it: &mut Account| it.accepted.reverse(),
            |it: &mut Account| it.accepted[0].first = u64::MAX,
        ] {
            let mut bad = account();
            change(&mut bad);
            assert!(Account::decode(&bad.encode()).is_err(), "{bad:?}");
        }
    }
}
