//! How reports are written: as text for people ([`Text`]) and as JSON for programs ([`json`]).
//!
//! The JSON of a report is its fields under their own names. Fields are added, and never renamed
//! or removed: scripts read them. Neither contains a character that a terminal would obey.

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

/// A report that people read.
pub trait Text {
    /// The report as text that ends with a line break. Control characters are shown as escapes:
    /// what a provider sent must not command the terminal.
    fn text(&self) -> String;
}

use crate::Problem;

/// The lines for what could not be found out.
fn problems(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| {
            let what = table::safe(&problem.what);
            format!("problem at the {}: {what}\n", problem.source)
        })
        .collect()
}
