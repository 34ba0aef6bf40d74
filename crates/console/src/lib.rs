//! The operators' commands, without terminal and command line, over the seams.
//!
//! Two rules hold for every command. Each line names its source of truth, the broker or the store;
//! and where one of them is unavailable, what the other knows is still reported. Commands read;
//! those that change something show what and how much, and ask.
//!
//! Architecture invariant: no driver, no engine, no clap and no terminal in this crate. A command
//! is a function from the seams to a report, a report is a plain value, and [`render`] formats it.

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
