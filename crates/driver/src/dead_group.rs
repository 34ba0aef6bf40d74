//! Groups of dead letters that have the same route, reason and cause.

use std::fmt;
use std::str::FromStr;

use hookbox_event::RouteName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DeadReason, cause};

/// The length of a group's id in bytes. It makes equal ids very unlikely: of five hundred million
/// stores with a thousand groups each, about one has two groups with the same id.
const ID_BYTES: usize = 6;

/// The id of a group of dead letters: the first twelve hex digits of a digest over route, reason
/// and [`cause`]. So the same failure has the same id in every store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeadGroupId([u8; ID_BYTES]);

/// The error for a text that is not the id of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a group's id is 12 hex digits, as `hookbox dead groups` prints them")]
pub struct InvalidDeadGroupId;

impl DeadGroupId {
    /// Returns the id of the group to which a dead letter with this route, reason and detail
    /// belongs.
    pub fn of(route: &RouteName, reason: DeadReason, detail: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"hookbox-dead-group-1\0");
        // A zero byte ends each part. It occurs neither in a route nor in a reason, so different
        // groups never have the same input of the digest.
        for part in [route.as_str(), reason.as_str()] {
            hasher.update(part.as_bytes());
            hasher.update(b"\0");
        }
        hasher.update(cause(detail).as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest[..ID_BYTES]);
        Self(id)
    }
}

impl fmt::Display for DeadGroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for DeadGroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadGroupId({self})")
    }
}

impl FromStr for DeadGroupId {
    type Err = InvalidDeadGroupId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; ID_BYTES];
        hex::decode_to_slice(text, &mut id).map_err(|_| InvalidDeadGroupId)?;
        Ok(Self(id))
    }
}

impl From<DeadGroupId> for String {
    fn from(id: DeadGroupId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for DeadGroupId {
    type Error = InvalidDeadGroupId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(route: &str, reason: DeadReason, detail: &str) -> DeadGroupId {
        DeadGroupId::of(
            &route.parse().expect("the route name must be valid"),
            reason,
            detail,
        )
    }

    #[test]
    fn an_id_is_of_route_reason_and_cause() {
        let one = of("scores", DeadReason::Malformed, "not JSON (at byte 5)");
        assert_eq!(
            one,
            of("scores", DeadReason::Malformed, "not JSON (at byte 70)")
        );
        assert_ne!(
            one,
            of("other", DeadReason::Malformed, "not JSON (at byte 5)")
        );
        assert_ne!(
            one,
            of("scores", DeadReason::Rejected, "not JSON (at byte 5)")
        );
        assert_ne!(
            one,
            of("scores", DeadReason::Malformed, "not JSON (at line 5)")
        );
    }

    /// A group's id must not change between versions, because it is stored and operators write it
    /// into scripts.
    #[test]
    fn an_id_stays_what_it_is() {
        let id = of(
            "scores",
            DeadReason::Exhausted,
            "event 0123456789abcdef: no",
        );
        assert_eq!(id.to_string(), "c9271afe9ad2");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "c0ffee",
            "c0ffeec0ffeec0",
            "c0ffee c0ffe",
            "ghghghghghgh",
        ] {
            assert_eq!(
                text.parse::<DeadGroupId>(),
                Err(InvalidDeadGroupId),
                "{text}"
            );
        }
    }
}
