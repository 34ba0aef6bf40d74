//! Proves who sent the bytes: one file a scheme, and a preset for each known provider.
//!
//! [`verify`] is the only function that creates [`Verified`], and only `Verified` can be published,
//! so nothing unverified is ever queued. Verification has no off switch.
//!
//! Architecture invariant: no IO and no clock. The time is an argument.

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
pub use verified::Verified;
