//! Tests of failures that only PostgreSQL can cause, against a real server:
//! `HOOKBOX_TEST_POSTGRES_URL`.
//!
//! The conformance suite tests the promises that every store keeps; these are the cases that need
//! the database's own means.
#![allow(clippy::unwrap_used)]

mod books;
mod commit;
mod connections;
mod failures;
mod ledger;
mod list_plans;
mod opening;
mod outages;
mod plans;
mod proof;
mod proxy;
mod refused;
mod replays;
mod schema;
mod units;
mod world;
