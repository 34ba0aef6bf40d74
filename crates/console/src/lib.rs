//! What operators see and do: the commands behind the command line, over the seams.
//!
//! Two rules hold for every command. Each line says which source of truth it comes from, the
//! broker or the store; and where one of them is away, what the other knows is still said.
//! Commands read; those that change something say what and how much, and ask.
//!
//! Architecture invariant: no driver, no engine, no clap and no terminal in this crate. A command
//! is a function from the seams to a report, a report is a plain value, and [`render`] writes it.

pub mod command;
mod error;
mod operator;
pub mod render;
mod source;

pub use error::CommandError;
pub use operator::{NoAnswer, Operator, actor};
pub use source::{Problem, Reach, Source};
