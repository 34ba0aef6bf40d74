//! Broker, store and ledger in one SQLite file: the same promises as RabbitMQ and PostgreSQL,
//! for one machine.
//!
//! - One connection per process writes, in transactions that begin with the file's write lock
//!   (`BEGIN IMMEDIATE`), and syncs the disk at each commit (`synchronous=FULL`). Those who wait
//!   for it are served in order. A few others read and never wait.
//! - Several processes may open the same file. What one of them holds too long is contention for
//!   the others, and never a loss.
//! - A file that was deleted, moved or replaced while it is open confirms nothing more, until the
//!   next start.
//! - A queue is rows of a table, a confirm is a commit, and messages in flight are leased: when the
//!   process of their consumer dies, the lease runs out and they are redelivered.
//!
//! Call [`migrate`] first, then [`Sqlite::open`].

#[cfg(not(unix))]
compile_error!("the SQLite driver sets file modes and syncs folders as Unix does");

mod accounts;
mod options;
mod silent;
mod sqlite;

mod broker;
mod broker_witnesses;
mod delivery;
mod health;
mod job;
mod keeper;
mod publisher;

mod ledger;
mod proof;
mod store;
mod tx;
mod unvouched;

mod attempts;
mod audit;
mod backlog;
mod claims;
mod dead_filter;
mod dead_groups;
mod dead_letters;
mod earlier_deaths;
mod event_list;
mod events;
mod messages;
mod meta;
mod receipts;
mod refusals;
mod retries;
mod retry_list;
mod starts;

mod column;
mod conditions;
mod connect;
mod diagnose;
mod environment;
mod file;
mod migrate;
mod moment;
mod names;
mod notifier;
mod opened_file;
mod readers;
mod refused;
mod room;
mod shared;
mod witness;
mod writer;
mod written_off;

#[cfg(test)]
mod tests;

pub use diagnose::ends_by_itself;
#[cfg(any(test, feature = "testing"))]
pub use migrate::dump_schema;
pub use migrate::{Migrated, migrate, plan};
pub use options::Options;
pub use sqlite::Sqlite;
pub use tx::Tx;

/// What messages to operators call it.
const THE_FILE: &str = "the SQLite file";

/// How many rows one statement inserts, at most: a batch has 64 envelopes, and ten columns of
/// that many rows are far from SQLite's limit of variables.
const ROWS_MAX: usize = 64;
