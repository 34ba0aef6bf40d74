//! What only PostgreSQL can get wrong, against a real server: `HOOKBOX_TEST_POSTGRES_URL`.
//!
//! The promises that every store keeps are tested by the conformance suite as well; here are the
//! cases that need the database's own means.
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
