//! The identity key: the secret under which ids and digests are computed, so that only those who
//! know it can find out which event an id belongs to.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use crate::hex_text::HexText;

/// A key of 256 random bits. The memory that holds it is zeroed when it is dropped. `Debug` shows
/// only the fingerprint, and there is no `Display`, so that the key gets into no log.
#[derive(Clone)]
pub struct IdentityKey(SecretSlice<u8>);

/// The fingerprint of an identity key: 16 bytes of a digest under the key, computed only for this
/// purpose. They show whether two processes have the same key, and reveal neither the key nor any
/// id or digest. They are written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdentityFingerprint([u8; 16]);

/// The error for a text that is not an identity key. It never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identity key is 64 hex digits, as `hookbox keys generate` prints it")]
pub struct InvalidIdentityKey;

impl IdentityKey {
    /// The number of bytes of a key.
    pub const BYTES: usize = 32;

    /// Creates a key from bytes, which must be random.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes.to_vec().into())
    }

    /// Returns the fingerprint of the key.
    pub fn fingerprint(&self) -> IdentityFingerprint {
        let mut mac = self.mac();
        mac.update(b"hookbox-identity-key-1\0");
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        IdentityFingerprint(first)
    }

    /// Begins an HMAC-SHA-256 under the key. The caller must first hash a label that has a zero
    /// byte at its end and nowhere else. Digests for different purposes have different labels. So
    /// without the key, the digest for one purpose cannot be computed from the digest for another.
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        // `new_from_slice` cannot fail here, because HMAC accepts keys of any length (RFC 2104).
        <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.expose_secret())
            .expect("HMAC must accept a key of any length")
    }
}

impl FromStr for IdentityKey {
    type Err = InvalidIdentityKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdentityKey> {
        // The text is decoded directly into the buffer of the key, so no copy of its bytes stays in
        // memory when the key is dropped.
        let mut bytes = vec![0; Self::BYTES];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes.into())),
            Err(_) => Err(InvalidIdentityKey),
        }
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({})", self.fingerprint())
    }
}

impl fmt::Display for IdentityFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HexText::of(&self.0).as_str())
    }
}

impl fmt::Debug for IdentityFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityFingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn a_key_is_read_from_its_text() {
        let key: IdentityKey = TEXT.parse().expect("the identity key must be valid");
        let mut bytes = [0; IdentityKey::BYTES];
        for (place, byte) in (0..).zip(&mut bytes) {
            *byte = place;
        }
        let same = IdentityKey::from_bytes(bytes);
        assert_eq!(key.fingerprint(), same.fingerprint());
        let upper: IdentityKey = TEXT
            .to_uppercase()
            .parse()
            .expect("the identity key must be valid");
        assert_eq!(key.fingerprint(), upper.fingerprint());
        for bad in [
            "",
            &TEXT[1..],
            &TEXT[2..],
            &format!("{TEXT}00"),
            &TEXT.replace('f', "g"),
        ] {
            let refused = bad
                .parse::<IdentityKey>()
                .expect_err("the text must be refused");
            assert!(!refused.to_string().contains("0001"), "{refused}");
        }
    }

    #[test]
    fn a_fingerprint_is_stable_and_shows_no_key() {
        // Stores and brokers keep fingerprints, so the same key must always have the same one.
        let key: IdentityKey = TEXT.parse().expect("the identity key must be valid");
        let fingerprint = key.fingerprint().to_string();
        assert_eq!(fingerprint, "92005bd94328914902fbed5f9154c817");
        assert_eq!(format!("{key:?}"), format!("IdentityKey({fingerprint})"));
        let other = IdentityKey::from_bytes([7; IdentityKey::BYTES]);
        assert_ne!(other.fingerprint(), key.fingerprint());
    }
}
