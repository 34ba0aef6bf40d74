//! How ids and digests are computed: with an identity key, or without one.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::{IdentityFingerprint, IdentityKey};

/// How the ids of events, content digests and the key digests of routes with `newest` are computed.
/// Every process of a deployment must compute them in the same way, because deduplication compares
/// them.
///
/// The `Debug` output shows only the fingerprint of an identity key.
#[derive(Debug, Clone)]
pub enum Digester {
    /// SHA-256 without a key. Anyone can hash a guess and compare it with a digest, so the digest
    /// of a short uid reveals the uid.
    Plain,
    /// HMAC-SHA-256 under the identity key. Without the key, a guess cannot be compared.
    Keyed(IdentityKey),
}

impl Digester {
    /// Returns the fingerprint of the key; `None` without a key.
    pub fn fingerprint(&self) -> Option<IdentityFingerprint> {
        match self {
            Digester::Plain => None,
            Digester::Keyed(key) => Some(key.fingerprint()),
        }
    }

    /// Begins a digest for the purpose that `label` names. A label must have a zero byte at its end
    /// and nowhere else. Then no label is the beginning of another label, and digests for different
    /// purposes never have the same input.
    pub(crate) fn begin(&self, label: &'static [u8]) -> Hasher {
        let mut hasher = match self {
            Digester::Plain => Hasher::Plain(Sha256::new()),
            Digester::Keyed(key) => Hasher::Keyed(key.mac()),
        };
        hasher.update(label);
        hasher
    }
}

/// A digest that is being computed.
pub(crate) enum Hasher {
    Plain(Sha256),
    Keyed(Hmac<Sha256>),
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Plain(hasher) => hasher.update(bytes),
            Hasher::Keyed(mac) => mac.update(bytes),
        }
    }

    /// Hashes the length of the bytes and then the bytes, so that two different lists of parts
    /// never have the same digest.
    pub fn update_part(&mut self, part: &[u8]) {
        self.update(&(part.len() as u64).to_be_bytes());
        self.update(part);
    }

    pub fn finish(self) -> [u8; 32] {
        match self {
            Hasher::Plain(hasher) => hasher.finalize().into(),
            Hasher::Keyed(mac) => mac.finalize().into_bytes().into(),
        }
    }
}

#[cfg(test)]
mod tests;
