//! The content digest of a body. A second receipt with a known event id is a duplicate if its body
//! has the same digest as the first one, and a conflict if it has another digest.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::Digester;
use crate::hex_text::HexText;

/// The digest of the canonical JSON of a body, or of the bytes of a body that is not JSON. A
/// [`Digester`] determines whether it is computed with a key.
///
/// Two bodies have the same digest if they differ only in white space, in the order of members, or
/// in how characters are escaped. Numbers are compared as texts, so `1` and `1.0` have different
/// digests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// Returns the digest of canonical JSON, as [`crate::scan`] writes it.
    pub fn of_canonical_json(digester: &Digester, canonical: &[u8]) -> Self {
        Self::of_canonical_parts(digester, [canonical])
    }

    /// Returns the digest of canonical JSON that is given in consecutive parts.
    pub(crate) fn of_canonical_parts<'a>(
        digester: &Digester,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        Self(hash(digester, b"json", parts))
    }

    /// Returns the digest of a body that is not JSON.
    pub fn of_raw_body(digester: &Digester, body: &[u8]) -> Self {
        Self(hash(digester, b"raw", [body]))
    }

    /// Creates a digest from the 32 bytes that were stored for it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hashes the kind of the bytes, "json" or "raw", and then the bytes. So canonical JSON and a body
/// that is not JSON never have the same digest.
fn hash<'a>(
    digester: &Digester,
    kind: &[u8],
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> [u8; 32] {
    let mut hasher = digester.begin(b"hookbox-content-1\0");
    hasher.update(&[kind.len() as u8]);
    hasher.update(kind);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HexText::of(&self.0).as_str())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentDigest({})", &hex::encode(&self.0[..6]))
    }
}

impl Serialize for ContentDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HexText::of(&self.0).as_str())
    }
}

impl From<ContentDigest> for String {
    fn from(digest: ContentDigest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for ContentDigest {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}
