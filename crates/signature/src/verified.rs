//! The type `Verified`: a value of it exists only for a request whose signature was verified, and
//! publishing requires one.

use bytes::Bytes;

use crate::form;

/// A body whose signature was verified. Only [`crate::verify`] creates it:
///
/// ```compile_fail,E0451
/// let forged = hookbox_signature::Verified {
///     body: Default::default(),
///     key_id: String::new(),
///     signed_id: None,
/// };
/// ```
#[derive(Clone)]
pub struct Verified {
    body: Bytes,
    key_id: String,
    signed_id: Option<String>,
}

impl Verified {
    pub(crate) fn new(body: Bytes, key_id: &str, signed_id: Option<String>) -> Self {
        Self {
            body,
            key_id: key_id.to_owned(),
            signed_id,
        }
    }

    /// Returns the same verified request with the value of one form field in place of its body.
    /// Returns `None` if the body is not a form that contains this field exactly once.
    pub fn form_field(&self, name: &str) -> Option<Self> {
        let body = form::field(&self.body, name)?.into();
        Some(Self {
            body,
            ..self.clone()
        })
    }

    /// Returns the exact bytes that were signed as the body, or the value of a field of the signed
    /// form.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the id of the key that verified the signature.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns the body and the id of the key that verified the signature.
    pub fn into_body_and_key_id(self) -> (Bytes, String) {
        (self.body, self.key_id)
    }

    /// Returns the message id, if the scheme signs one. An unsigned id is never used (H12 in
    /// docs/HAZARDS.md).
    pub fn signed_id(&self) -> Option<&str> {
        self.signed_id.as_deref()
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified")
            .field("key_id", &self.key_id)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
