//! Formats reports: as text for operators ([`Text`]) and as JSON for programs ([`json`]).
//!
//! The JSON of a report has the fields of the report's type, under the same names. Scripts read
//! these fields, so renaming or removing one is an incompatible change. Neither the text nor the
//! JSON contains a character that a terminal would interpret.

mod audit;
mod dead;
mod declare;
mod events;
mod follow;
mod json;
mod pauses;
mod queues;
mod reconcile;
mod refusals;
mod replay;
mod retries;
mod routes;
mod table;
mod targets;
pub mod terminal;
mod witness;

pub use json::{json, json_line};

/// A report that can be written as text for operators.
pub trait Text {
    /// Returns the report as text that ends with a line break. Control characters are escaped,
    /// because text from a provider must not control the terminal.
    fn text(&self) -> String;
}

use crate::Problem;

/// Formats one line for each problem: something that a command could not read.
fn problems(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| {
            let what = table::safe(&problem.what);
            format!("problem at the {}: {what}\n", problem.source)
        })
        .collect()
}
