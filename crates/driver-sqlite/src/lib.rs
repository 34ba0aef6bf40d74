//! Broker, store and ledger in one SQLite file, for one machine. They keep the same promises as
//! hookbox's drivers for RabbitMQ and PostgreSQL.
//!
//! - One connection per process writes. Its transactions take the file's write lock at their start
//!   (`BEGIN IMMEDIATE`), and each commit syncs the disk (`synchronous=FULL`). Publishes,
//!   deliveries, workers and operators take turns on the writing connection, so that none of them
//!   waits long for the others. A few other connections read and never wait.
//! - Several processes may open the same file. If one of them holds the lock too long, calls of the
//!   others fail with the fault `Contention`, and nothing is lost.
//! - If the file is deleted, moved or replaced while it is open, nothing is confirmed from then on,
//!   until the process is started again.
//! - A queue is a set of rows. A publish is confirmed when its transaction has committed. A message
//!   in flight has a lease: when the process of its consumer dies, the lease ends and the message
//!   is redelivered.
//!
//! The store's files have the same names as in hookbox's driver for PostgreSQL. The broker is in
//! the folder `broker`, and what only a file has, such as its one writing connection, in the folder
//! `file`.
//!
//! Call [`migrate`] first, then [`Sqlite::open`].

#[cfg(not(unix))]
compile_error!("the SQLite driver needs Unix, because it sets file modes and syncs folders");

mod accounts;
mod attempts;
mod audit;
mod backlog;
mod books;
mod broker;
mod call_ends;
mod claim;
mod claim_states;
mod claims;
mod column;
mod compare_versions;
mod conditions;
mod dead_filter;
mod dead_groups;
mod dead_letters;
mod defer;
mod diagnose;
mod earlier_deaths;
mod ends;
mod event_list;
mod event_replay;
mod events;
mod fail;
mod file;
mod history;
mod identity;
mod in_the_way;
mod lease;
mod leases;
mod ledger;
mod meta;
mod migrate;
mod moment;
mod names;
mod newest;
mod open;
mod options;
mod owned_claim;
mod proof;
mod receipts;
mod refusals;
mod refused;
mod replay;
mod requeue;
mod retries;
mod retry_list;
mod route_controls;
mod savepoint;
mod settle;
mod silent;
mod starts;
mod store;
mod targets;
mod tx;
mod unvouched;
mod withdraw;
mod witness;
mod written_off;

#[cfg(test)]
mod tests;

pub use diagnose::ends_by_itself;
#[cfg(any(test, feature = "testing"))]
pub use migrate::dump_schema;
pub use migrate::{Migrated, is_empty, migrate, own_tables, plan};
pub use open::Sqlite;
pub use options::Options;
pub use tx::Tx;

/// The words by which messages to operators name the file.
const THE_FILE: &str = "the SQLite file";

/// The largest number of rows that one statement inserts. A batch has at most 64 envelopes. With
/// ten bound values per row, a statement stays far below SQLite's limit of bound values.
const ROWS_MAX: usize = 64;
