//! Stores Begini's events as typed rows: the scores of applicants with their traits, and the
//! applicants' applications.
//!
//! An event of an unknown type gets no typed row. It is still stored in the table `events`, and its
//! outcome is `done`.

mod payload;
mod postgres;
mod rows;
mod sqlite;

pub use rows::schemas;

/// The handler that writes `begini_scores`, `begini_score_traits` and `begini_applications`.
#[derive(Debug, Clone, Copy)]
pub struct Begini;
