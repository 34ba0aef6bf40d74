//! Keys: no `Debug`, no `Display`; several may be current, for rotation.

use hookbox_event::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};

/// The shortest key that a config may name: what NIST SP 800-63B §5.1.1.2 demands of a password.
/// Whoever has one captured request can try all shorter ones on a single machine.
pub const KEY_BYTES_MIN: usize = 8;

/// The shortest key that is strong enough: 112 bits. NIST SP 800-131A Rev. 2 §10 disallows shorter
/// HMAC keys, and RFC 2104 §3 advises as many bytes as the hash has.
pub const KEY_BYTES_STRONG: usize = 14;

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
    /// A key with its id (recorded with every receipt it verifies) and the moment from which it
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

    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.expose_secret()
    }
}
