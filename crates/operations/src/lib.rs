//! The commands of operators, without terminal and command line, as functions over the broker and
//! the store.
//!
//! Two rules hold for every command. Each line of a report says whether it comes from the broker or
//! from the store; if one of them is unavailable, what the other knows is still reported. And a
//! command that changes something shows what and how much it will change, and asks for
//! confirmation.
//!
//! Architecture invariant: this crate contains no driver, no engine, no clap and no terminal. A
//! command is a function from broker and store to a report, a report is a plain value, and
//! [`render`] formats it.

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
