//! How reports are written: as text for operators ([`Text`]) and as JSON for programs ([`json`]).
//!
//! The JSON of a report is its fields under their own names. Scripts read them: a field that is
//! renamed or removed is an incompatible change. Neither form contains a character that a terminal
//! would interpret.

mod audit;
mod dead;
mod declare;
mod events;
mod json;
mod queues;
mod reconcile;
mod refusals;
mod retries;
mod table;
pub mod terminal;
mod witness;

pub use json::json;

/// A report as text for operators.
pub trait Text {
    /// The report as text that ends with a line break. Control characters are shown as escapes:
    /// text from a provider must not control the terminal.
    fn text(&self) -> String;
}

use crate::Problem;

/// The lines for what could not be read.
fn problems(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| {
            let what = table::safe(&problem.what);
            format!("problem at the {}: {what}\n", problem.source)
        })
        .collect()
}
