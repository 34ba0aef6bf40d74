//! An account: what an ingest says it has answered, so that nothing it answered can be missing
//! without anybody noticing.
//!
//! Each ingest numbers what it publishes, from 1 and without a gap. An account covers a range of
//! those numbers: the receipts that were confirmed, and so answered 200, and every other number of
//! the range is void. Accounts follow each other without a gap, too. Every version ever written is
//! kept as a golden file in `schemas/wire/`.
//!
//! ```text
//! account = "HKBA" version:u8 json      readers ignore members they do not know
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{InstanceId, ReceiptId, RouteName, WireError};

const MAGIC: &[u8; 4] = b"HKBA";

/// The version of the account that this build writes.
pub const ACCOUNT_VERSION: u8 = 1;

/// The last number there can be: a store counts on from it in 64 bits with a sign. An ingest that
/// numbers a million events a second gets there in 292,000 years; bytes that say more are broken.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;

/// What one ingest says of a range of its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Which ingest process.
    pub instance: InstanceId,
    /// The first number.
    pub first: u64,
    /// The last number; every number from the first to it is decided.
    pub last: u64,
    /// Whether it is the instance's last account: it drained.
    pub closing: bool,
    /// What was confirmed. Numbers that are in none of these are void.
    pub accepted: Vec<Accepted>,
}

/// Receipts with neighbouring numbers that went to the same routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Where they went.
    pub routes: Vec<RouteName>,
    /// The number of the first of them.
    pub first: u64,
    /// The receipts that the senders were given.
    pub receipts: Vec<ReceiptId>,
}

impl Account {
    /// As it travels.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(MAGIC);
        bytes.put_u8(ACCOUNT_VERSION);
        // Texts and numbers alone: there is nothing in it that JSON could not say.
        bytes.put_slice(&serde_json::to_vec(self).unwrap_or_default());
        bytes.freeze()
    }

    /// Reads what [`Account::encode`] wrote, of any version.
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

    /// Whether every accepted number is within the range, and none is there twice.
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
        let routes = |names: &[&str]| names.iter().map(|it| it.parse().expect("a name")).collect();
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
    fn the_golden_account_is_read_and_written() {
        let golden: String = GOLDEN.split_whitespace().collect();
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/wire/accounts");
            let text = hex::encode(account().encode()) + "\n";
            std::fs::write(format!("{folder}/account-v1.hex"), text).expect("written");
            return;
        }
        assert_eq!(hex::encode(account().encode()), golden);
        let bytes = hex::decode(golden).expect("hex");
        assert_eq!(Account::decode(&bytes), Ok(account()));
    }

    #[test]
    fn damage_is_told() {
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
