//! The error for a URL that a command uses although it did not resolve it.

use hookbox_driver::OpenError;

/// The error for a command that uses the store or the broker although its `Needs` do not list the
/// URL. This is a bug in hookbox.
pub fn not_resolved(what: &'static str) -> OpenError {
    OpenError::Options {
        what,
        why: "its URL was not resolved for this command: this is a bug in hookbox".to_owned(),
    }
}
