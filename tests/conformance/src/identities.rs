//! What the cases about identity keys share.

use hookbox_driver::{ExpectedIdentity, IdentityMismatch, OpenError};
use hookbox_event::IdentityKey;

/// Returns the identity of a key; each number is another key.
pub(crate) fn keyed(number: u8) -> ExpectedIdentity {
    let key = IdentityKey::from_bytes([number; IdentityKey::BYTES]);
    ExpectedIdentity::Keyed(key.fingerprint())
}

/// Returns why a broker or store was refused.
#[track_caller]
pub(crate) fn mismatch<T>(opened: Result<T, OpenError>) -> IdentityMismatch {
    match opened {
        Err(OpenError::Identity { why, .. }) => why,
        Err(other) => panic!("another error than that of the identity: {other}"),
        Ok(_) => panic!("another identity must be refused"),
    }
}
