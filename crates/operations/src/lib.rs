//! The commands of operators, as functions over the broker and the store. The command line and the
//! terminal are elsewhere.
//!
//! Two rules hold for every command. First, each line of a report says whether it comes from the
//! broker or from the store; if one of the two is unavailable, what the other knows is still
//! reported. Second, a command that changes something first shows what it will change and how much,
//! and asks for confirmation.
//!
//! Architecture invariant: this crate contains no driver, no engine, no clap and no terminal. A
//! command is a function that takes a broker and a store and returns a report. A report is a plain
//! value, which [`render`] formats.

pub mod command;
mod error;
mod no_answer;
mod operator;
pub mod render;
mod source;

pub use error::CommandError;
pub use no_answer::NoAnswer;
pub use operator::{Operator, actor};
pub use source::{Problem, Reach, Source};
