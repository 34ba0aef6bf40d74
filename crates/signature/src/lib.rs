//! Verifies who sent a request: one file for each signature scheme, and a preset for each known
//! provider.
//!
//! [`verify`] is the only function that creates [`Verified`], and only a `Verified` can be
//! published, so nothing unverified is ever queued. Verification cannot be switched off.
//!
//! Architecture invariant: this crate does no IO and reads no clock. The time is an argument.

mod form;
mod header;
mod hmac;
mod key;
mod preset;
mod refusal;
mod scheme;
mod standard_webhooks;
mod verified;

pub use hmac::{Algorithm, Encoding, HmacScheme, TimestampRule};
pub use key::{InvalidKey, KEY_BYTES_MIN, KEY_BYTES_STRONG, Key, last_end};
pub use preset::{ConflictAction, Identity, Preset, RefusalAnswer};
pub use refusal::Refusal;
pub use scheme::{Scheme, can_verify, sign, verify};
pub use standard_webhooks::sign as sign_standard_webhook;
pub use verified::Verified;
