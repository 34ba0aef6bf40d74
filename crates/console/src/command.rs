//! One file per command. Each is a function from the seams to a report.

pub mod audit;
pub mod dead;
pub mod declare;
pub mod events;
pub mod history;
pub mod names;
mod page;
pub mod queues;
pub mod reconcile;
pub mod refusals;
pub mod retries;
pub mod witness;
