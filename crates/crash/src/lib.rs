//! Named crash points at which tests abort the process, to imitate a loss of power.
//!
//! A [`crash_point!`] stands where a crash is critical: between two steps, when the first is
//! already visible outside the process and the second is not done yet. The environment variable
//! [`CRASH_AT`] names one crash point, and the process aborts there: no destructor runs, no buffer
//! is flushed, and no connection is closed in an orderly way. `cargo xtask chaos --layer crashes`
//! crashes at every one of [`POINTS`].
//!
//! Only builds with debug assertions contain crash points: in a release build the macro expands to
//! nothing.
//!
//! Architecture invariant: only the standard library, and no dependency on any other crate.

mod points;
mod when;

pub use points::{POINTS, Point};

use std::sync::OnceLock;

use when::When;

/// The environment variable that says where to crash: `NAME[=KEY][:TIMES]`.
///
/// `KEY` restricts the crash point `NAME` to one object, such as the topic of the event that is
/// being processed. `TIMES` says at which passing of the crash point to crash, counted from 1 (the
/// default). `*` means at every passing; it is for a process that is restarted with the same
/// environment.
pub const CRASH_AT: &str = "HOOKBOX_CRASH_AT";

/// Records that the process passes the crash point `name`, and aborts the process if [`CRASH_AT`]
/// names this passing. Called by [`crash_point!`].
pub fn pass(name: &str, key: Option<&str>) {
    // This is the only global variable of the project. It spares the code around a crash point from
    // passing state to it. The environment variable is read once. After that, only a counter
    // changes.
    static WHEN: OnceLock<Option<When>> = OnceLock::new();
    let when = WHEN.get_or_init(|| std::env::var(CRASH_AT).ok().and_then(|it| When::parse(&it)));
    if when.as_ref().is_some_and(|when| when.is_now(name, key)) {
        std::process::abort();
    }
}

/// Aborts the process at this place when [`CRASH_AT`] names it:
/// `crash_point!("worker.before_commit")`, or with a key: `crash_point!("worker.mid_handler",
/// topic.as_str())`.
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
