//! The commands of operators, one file for each. A command is a function that reads the broker and
//! the store, and returns a report.

pub mod audit;
mod chunks;
pub mod dead;
pub mod declare;
pub mod events;
pub mod follow;
pub mod history;
pub mod names;
mod pace;
mod page;
pub mod pause_line;
pub mod queues;
pub mod reconcile;
pub mod refusals;
pub mod replay;
pub mod retries;
pub mod routes;
pub mod targets;
pub mod witness;
