//! Tests every command with a small ledger in memory: its report as text and as JSON, and the
//! question before a change. The conformance suite tests what a real database answers.
#![allow(clippy::unwrap_used)]

mod changes;
mod dead;
mod declare;
mod depths;
mod events;
mod ledger;
mod lists;
mod missing;
mod person;
mod queues;
mod reconcile;
mod unknown;
mod witness;
mod world;
