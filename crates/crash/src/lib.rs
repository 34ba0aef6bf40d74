//! Named points at which tests end the process, as a power cut would.
//!
//! A [`crash_point!`] stands wherever dying matters: between two steps of which the first can be
//! seen from outside and the second is still to come. The environment variable [`CRASH_AT`] names
//! one, and the process aborts there: no destructor runs, nothing is flushed, no connection is
//! closed in an orderly way. `cargo xtask chaos --layer crashes` does so at every one of
//! [`POINTS`].
//!
//! Only builds with debug assertions have them: in a release build the macro is nothing.
//!
//! Architecture invariant: only the standard library, and no dependency on any other crate.

mod points;
mod when;

pub use points::{POINTS, Point};

use std::sync::OnceLock;

use when::When;

/// The environment variable that says where to crash: `NAME[=KEY][:TIMES]`.
///
/// `KEY` narrows a point to one thing (the topic of the event being processed, say). `TIMES` is the
/// passing at which to crash, from 1, which is the default; `*` means every time, which matters to
/// a process that is restarted with the same environment.
pub const CRASH_AT: &str = "HOOKBOX_CRASH_AT";

/// Passes a point. Called by [`crash_point!`].
pub fn pass(name: &str, key: Option<&str>) {
    // The one global of the project: a point takes no argument, since what it tests is that nothing
    // needs to be notified of the end. The variable is read once; only a counter changes after
    // that.
    static WHEN: OnceLock<Option<When>> = OnceLock::new();
    let when = WHEN.get_or_init(|| std::env::var(CRASH_AT).ok().and_then(|it| When::parse(&it)));
    if when.as_ref().is_some_and(|when| when.is_now(name, key)) {
        std::process::abort();
    }
}

/// Ends the process here when [`CRASH_AT`] says so: `crash_point!("worker.before_commit")`, or with
/// a key: `crash_point!("worker.mid_handler", topic.as_str())`.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        if cfg!(debug_assertions) {
            $crate::pass($name, None);
        }
    };
    ($name:literal, $key:expr) => {
        if cfg!(debug_assertions) {
            $crate::pass($name, Some($key));
        }
    };
}
