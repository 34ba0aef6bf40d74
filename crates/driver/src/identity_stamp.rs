//! The rule by which a broker or a store belongs to one identity key. A process with another key,
//! or without one, computes other ids. It would take every event that a provider sends again for a
//! new event.

use hookbox_event::IdentityFingerprint;

use crate::{IdentityMismatch, OpenError};

/// What the identity stamp of a broker or store must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedIdentity {
    /// Any stamp, or none: for commands that compute neither ids nor digests, and do not read the
    /// key.
    Unchecked,
    /// No stamp, because ids are computed without an identity key.
    Plain,
    /// The fingerprint of the key with which ids are computed.
    Keyed(IdentityFingerprint),
}

/// The identity stamp that a broker or store has, compared with the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundIdentity {
    /// The broker or store has no stamp.
    NotStamped {
        /// Whether the broker or store has events. Their ids were computed without a key.
        has_events: bool,
    },
    /// The stamp is the fingerprint of the expected key.
    Same,
    /// The stamp is not the expected one, or no stamp is expected.
    Other,
}

/// Whether a broker or store that may be used has the stamp that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityStamp {
    /// The stamp agrees with the config.
    Agrees,
    /// The broker or store must be stamped with the fingerprint of the config's key before a
    /// process uses it.
    Missing,
}

impl ExpectedIdentity {
    /// Returns the fingerprint that a stamp must have; `None` if there must be no stamp, or if the
    /// stamp is not checked.
    pub fn fingerprint(self) -> Option<IdentityFingerprint> {
        match self {
            ExpectedIdentity::Unchecked | ExpectedIdentity::Plain => None,
            ExpectedIdentity::Keyed(fingerprint) => Some(fingerprint),
        }
    }

    /// Compares the text of a stamp with the expected one. `has_events` matters only if there is no
    /// stamp.
    pub fn find(self, stamp: Option<&str>, has_events: bool) -> FoundIdentity {
        let expected = self.fingerprint().map(|it| it.to_string());
        match stamp {
            None => FoundIdentity::NotStamped { has_events },
            Some(stamp) if expected.as_deref() == Some(stamp) => FoundIdentity::Same,
            Some(_) => FoundIdentity::Other,
        }
    }

    /// Returns whether a broker or store that may be used has the stamp that it needs. `what` names
    /// the broker or store in an error: "the database" or "the broker".
    ///
    /// # Errors
    /// When this process would compute other ids than those that the stored events have.
    pub fn compare(
        self,
        what: &'static str,
        found: FoundIdentity,
    ) -> Result<IdentityStamp, OpenError> {
        let why = match (self, found) {
            (ExpectedIdentity::Unchecked, _)
            | (ExpectedIdentity::Plain, FoundIdentity::NotStamped { .. })
            | (ExpectedIdentity::Keyed(_), FoundIdentity::Same) => {
                return Ok(IdentityStamp::Agrees);
            }
            (ExpectedIdentity::Keyed(_), FoundIdentity::NotStamped { has_events: false }) => {
                return Ok(IdentityStamp::Missing);
            }
            (ExpectedIdentity::Keyed(_), FoundIdentity::NotStamped { has_events: true }) => {
                IdentityMismatch::PlainEvents
            }
            (ExpectedIdentity::Keyed(_), FoundIdentity::Other) => IdentityMismatch::OtherKey,
            (ExpectedIdentity::Plain, FoundIdentity::Same | FoundIdentity::Other) => {
                IdentityMismatch::NoKey
            }
        };
        Err(OpenError::Identity { what, why })
    }
}

impl IdentityStamp {
    /// Returns an error if the stamp is missing. This is for callers that must not write a stamp.
    ///
    /// # Errors
    /// When the broker or store must be stamped first.
    pub fn required(self, what: &'static str) -> Result<(), OpenError> {
        match self {
            IdentityStamp::Agrees => Ok(()),
            IdentityStamp::Missing => Err(OpenError::Identity {
                what,
                why: IdentityMismatch::NotStamped,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use hookbox_event::IdentityKey;

    use super::*;

    fn keyed(byte: u8) -> ExpectedIdentity {
        let key = IdentityKey::from_bytes([byte; IdentityKey::BYTES]);
        ExpectedIdentity::Keyed(key.fingerprint())
    }

    fn stamp(byte: u8) -> String {
        let fingerprint = keyed(byte)
            .fingerprint()
            .expect("the process must have an identity key");
        fingerprint.to_string()
    }

    #[test]
    fn only_the_same_identity_may_be_used() {
        use ExpectedIdentity::{Plain, Unchecked};
        use IdentityMismatch::{NoKey, OtherKey, PlainEvents};
        use IdentityStamp::{Agrees, Missing};
        let one = Some(stamp(1));
        for (expected, stamp, has_events, expect) in [
            (Plain, None, false, Ok(Agrees)),
            (Plain, None, true, Ok(Agrees)),
            (Plain, one.clone(), false, Err(NoKey)),
            (Plain, one.clone(), true, Err(NoKey)),
            (keyed(1), one.clone(), true, Ok(Agrees)),
            (keyed(2), one.clone(), true, Err(OtherKey)),
            (keyed(2), one.clone(), false, Err(OtherKey)),
            (keyed(2), Some("nonsense".to_owned()), false, Err(OtherKey)),
            (keyed(1), None, false, Ok(Missing)),
            (keyed(1), None, true, Err(PlainEvents)),
            (Unchecked, None, true, Ok(Agrees)),
            (Unchecked, one, true, Ok(Agrees)),
        ] {
            let found = expected.find(stamp.as_deref(), has_events);
            let compared = match expected.compare("the database", found) {
                Ok(stamp) => Ok(stamp),
                Err(OpenError::Identity { why, .. }) => Err(why),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(compared, expect, "{expected:?} of {stamp:?}, {has_events}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_be_forgotten_and_what_to_do() {
        for why in [
            IdentityMismatch::OtherKey,
            IdentityMismatch::NoKey,
            IdentityMismatch::PlainEvents,
        ] {
            let what = "the database";
            let text = OpenError::Identity { what, why }.to_string();
            assert!(text.starts_with("the database "), "{text}");
            assert!(text.contains("forget all deduplication"), "{text}");
            assert!(text.contains("`[identity] key`"), "{text}");
        }
        let refused = IdentityStamp::Missing.required("the broker");
        let text = refused
            .expect_err("a missing stamp must be refused")
            .to_string();
        assert!(text.contains("run `hookbox migrate`"), "{text}");
    }
}
