//! Every command over a small ledger in memory: its report, as text and as JSON, and the questions
//! before a change. What a real database answers is tested by the conformance suite.
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
