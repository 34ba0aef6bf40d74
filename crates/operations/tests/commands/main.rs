//! Tests every command with a fake store in memory: its report as text and as JSON, and its
//! question before a change. The conformance suite tests what real stores answer.
#![allow(clippy::unwrap_used)]

mod changes;
mod dead;
mod declare;
mod depths;
mod early;
mod events;
mod follow;
mod ledger;
mod lists;
mod missing;
mod person;
mod queues;
mod reconcile;
mod replays;
mod routes;
mod targets;
mod unknown;
mod witness;
mod world;
