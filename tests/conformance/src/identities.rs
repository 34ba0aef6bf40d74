//! What the cases about identity keys share.

use hookbox_driver::{ExpectedIdentity, IdentityMismatch, OpenError};
use hookbox_event::IdentityKey;

/// Returns what a process with an identity key expects. Each number stands for another key.
pub(crate) fn keyed(number: u8) -> ExpectedIdentity {
    let key = IdentityKey::from_bytes([number; IdentityKey::BYTES]);
    ExpectedIdentity::Keyed(key.fingerprint())
}

/// Returns why a broker or store refused an identity key.
#[track_caller]
pub(crate) fn mismatch<T>(opened: Result<T, OpenError>) -> IdentityMismatch {
    match opened {
        Err(OpenError::Identity { why, .. }) => why,
        Err(other) => panic!("the error must be about the identity key: {other}"),
        Ok(_) => panic!("another identity key must be refused"),
    }
}
