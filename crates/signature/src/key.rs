//! Keys: no `Debug`, no `Display`; several may be current, for rotation.

use ::hmac::{Hmac, KeyInit, Mac};
use hookbox_event::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// The shortest key that a config may have: what NIST SP 800-63B §5.1.1.2 requires of a password.
/// With one captured request, all shorter ones can be tried on a single machine.
pub const KEY_BYTES_MIN: usize = 8;

/// The shortest key without a warning. NIST SP 800-131A Rev. 2 §10 disallows HMAC keys of under 112
/// bits, and a key is mostly text: 24 characters of base64 hold 144 bits, of hex 96.
pub const KEY_BYTES_STRONG: usize = 24;

/// A secret that a source's requests are signed with.
#[derive(Clone)]
pub struct Key {
    id: String,
    until: Option<Timestamp>,
    secret: SecretSlice<u8>,
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Anyone can sign with an empty key.
    #[error("the key {0:?} is empty")]
    Empty(String),
}

impl Key {
    /// A key with its id (recorded with every receipt that it verifies) and the time from which it
    /// is not valid any more.
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

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Until when it is valid.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Whether it is valid at this moment.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it is the same key: id, end and secret.
    pub fn is_same(&self, other: &Key) -> bool {
        self.id == other.id && self.until == other.until && self.secret() == other.secret()
    }

    /// Shows whether two keys are the same, and nothing else about them: an HMAC-SHA-256 under
    /// `salt`, which must be random and stored nowhere.
    pub fn fingerprint(&self, salt: &[u8; 32]) -> [u8; 32] {
        // RFC 2104 takes a key of any length.
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(salt).expect("any length is a key");
        mac.chain_update(self.secret())
            .finalize()
            .into_bytes()
            .into()
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.expose_secret()
    }
}

/// When the last of some keys ends; `None` where one of them has no end.
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
    fn a_key_is_the_same_in_all_its_parts() {
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
