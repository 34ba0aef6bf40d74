//! The error for a command that uses a secret which it has not resolved.

use hookbox_driver::OpenError;

/// The error for a command that uses the store, the broker or the identity key although its `Needs`
/// do not list it. This is a bug in hookbox.
pub fn not_resolved(what: &'static str) -> OpenError {
    OpenError::Options {
        what,
        why: "it was not resolved for this command: this is a bug in hookbox".to_owned(),
    }
}
