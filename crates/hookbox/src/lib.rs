//! hookbox: a durable, verified inbox for webhooks. One binary runs several roles.
//!
//! This crate chooses the drivers (`compose`) and owns the process: it builds the parts, starts the
//! roles, and drains them.
//!
//! A program with handlers of its own depends on this crate alone: see [`App`], and
//! docs/HANDLERS.md. Such a program uses the names in [`prelude`]; the other public items are for
//! rarer needs. `sqlx` and `serde` are exported because handlers need the versions that hookbox
//! uses.

// `print!` and `eprint!` panic if writing fails, so all code prints with `command::print`, which
// does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod app;
mod cli;
mod command;
mod compose;
mod core_dumps;
mod drain;
mod exit;
mod key_ends;
mod log_args;
mod monitor;
pub mod prelude;
mod process;
mod reload;
mod signals;
mod telemetry;
pub mod testing;
mod tls;

/// The types of an event's fields, and of places in its body.
pub mod event {
    pub use hookbox_event::{
        ContentDigest, EventId, EventNumber, Pointer, ReceiptId, SourceName, Timestamp, Topic,
        exact_integer,
    };
}

pub use app::App;
pub use compose::{BoxError, HandlerStore};
pub use hookbox_driver::{Clock, Rng, SystemClock, SystemRng};
pub use hookbox_handlers::sqlx;
pub use serde;
