//! Begini's events as typed rows: scores with their traits, and applications.
//!
//! An event type that is not known yet has no typed row: it is stored in `events` and is done.

mod payload;
mod rows;

pub use rows::schemas;

/// Writes `begini_scores`, `begini_score_traits` and `begini_applications`.
#[derive(Debug, Clone, Copy)]
pub struct Begini;
