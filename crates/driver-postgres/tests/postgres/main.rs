//! Tests of failures that only PostgreSQL can cause. They run against the real server that
//! `HOOKBOX_TEST_POSTGRES_URL` names.
//!
//! The conformance suite tests the promises that every store keeps. The cases here need means that
//! only PostgreSQL has, such as its sessions, locks and rights.
#![allow(clippy::unwrap_used)]

mod books;
mod commit;
mod connections;
mod dead_rights;
mod dropped;
mod ends;
mod ends_migrated;
mod failures;
mod leases;
mod ledger;
mod list_plans;
mod logging;
mod numbering;
mod opening;
mod outages;
mod plans;
mod proof;
mod refused;
mod remedies;
mod replays;
mod schema;
mod sequences;
mod undo;
mod units;
mod upgrades;
mod world;
