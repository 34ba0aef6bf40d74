//! The keys with which the providers of sources sign. The type `Key` implements neither `Debug` nor
//! `Display`, so that no secret gets into a log. A source may have several keys, for key rotation.

use ::hmac::{Hmac, KeyInit, Mac};
use hookbox_event::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// The shortest key that a config may contain, in bytes. It is the length that NIST SP 800-63B
/// §5.1.1.2 requires of a password. An attacker who has captured one request can try all shorter
/// keys on a single machine.
pub const KEY_BYTES_MIN: usize = 8;

/// The shortest key that causes no warning, in bytes. NIST SP 800-131A Rev. 2 §10 disallows HMAC
/// keys of under 112 bits. Most keys are text: 24 characters of base64 contain 144 bits, which is
/// enough. 24 hex digits contain only 96 bits, but cause no warning either.
pub const KEY_BYTES_STRONG: usize = 24;

/// A secret with which the requests of a source are signed.
#[derive(Clone)]
pub struct Key {
    id: String,
    until: Option<Timestamp>,
    secret: SecretSlice<u8>,
}

/// The error for a key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The key is empty, so anyone could sign with it.
    #[error("the key {0:?} is empty")]
    Empty(String),
}

impl Key {
    /// Makes a key. `id` is recorded with every receipt whose signature this key verified. From the
    /// time `until` on, the key is no longer valid; with `None` it never expires.
    pub fn new(
        id: impl Into<String>,
        until: Option<Timestamp>,
        secret: Vec<u8>,
    ) -> Result<Self, InvalidKey> {
        let id = id.into();
        if secret.is_empty() {
            return Err(InvalidKey::Empty(id));
        }
        Ok(Self {
            id,
            until,
            secret: secret.into(),
        })
    }

    /// Returns the id of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the time until which the key is valid; `None` if it never expires.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Returns whether the key is valid at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Returns whether both keys have the same id, the same time of expiry and the same secret.
    pub fn is_same(&self, other: &Key) -> bool {
        self.id == other.id && self.until == other.until && self.secret() == other.secret()
    }

    /// Returns a fingerprint that shows whether two keys are equal, and nothing else about them: an
    /// HMAC-SHA-256 of the secret under `salt`, which must be random and stored nowhere.
    pub fn fingerprint(&self, salt: &[u8; 32]) -> [u8; 32] {
        // `new_from_slice` cannot fail here, because HMAC accepts keys of any length (RFC 2104).
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(salt)
            .expect("HMAC must accept a key of any length");
        mac.chain_update(self.secret())
            .finalize()
            .into_bytes()
            .into()
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.expose_secret()
    }
}

/// Returns the time from which none of these keys is valid any more; `None` if one of them never
/// expires.
pub fn last_end(keys: &[Key]) -> Option<Timestamp> {
    let ends: Option<Vec<Timestamp>> = keys.iter().map(Key::until).collect();
    ends?.into_iter().max()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(id: &str, until: Option<i64>, secret: &str) -> Key {
        let until = until.map(Timestamp::from_unix_micros);
        Key::new(id, until, secret.into()).unwrap()
    }

    #[test]
    fn the_last_end_is_that_of_the_key_that_lasts_longest() {
        let (early, late, endless) = (
            key("a", Some(1), "x"),
            key("b", Some(2), "x"),
            key("c", None, "x"),
        );
        let at = |micros| Some(Timestamp::from_unix_micros(micros));
        assert_eq!(last_end(std::slice::from_ref(&early)), at(1));
        assert_eq!(last_end(&[late.clone(), early.clone()]), at(2));
        assert_eq!(last_end(&[early, endless, late]), None);
    }

    #[test]
    fn keys_are_the_same_only_if_all_their_parts_are() {
        let one = key("a", Some(1), "x");
        assert!(one.is_same(&key("a", Some(1), "x")));
        for other in [
            key("b", Some(1), "x"),
            key("a", None, "x"),
            key("a", Some(1), "y"),
        ] {
            assert!(!one.is_same(&other));
        }
    }
}
