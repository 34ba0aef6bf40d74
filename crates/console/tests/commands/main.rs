//! Every command over a small ledger in memory: what it reports, as text and as JSON, and what it
//! asks before it changes anything. What a real database answers is the conformance suite's part.
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
