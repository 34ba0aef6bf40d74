//! The built-in handlers, one file each. `by_name` is the list of them.
//!
//! A handler writes native SQL through the connection it is lent; each is written once and made
//! ready for both databases, so that a config can change its two URLs and nothing else.

mod begini;
mod record;

pub use begini::{Begini, schemas as begini_schemas};
pub use record::Record;

use hookbox_driver::Store;
use hookbox_worker::{Handler, Registered, register};

/// The names of the built-in handlers, as the config says them.
pub const NAMES: [&str; 2] = ["record", "begini"];

/// The built-in handler of a name, ready for a route.
pub fn by_name<S>(name: &str) -> Option<Registered<S>>
where
    S: Store,
    Record: Handler<S>,
    Begini: Handler<S>,
{
    match name {
        "record" => Some(register(Record)),
        "begini" => Some(register(Begini)),
        _ => None,
    }
}
