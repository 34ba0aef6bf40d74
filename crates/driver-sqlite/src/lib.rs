//! Broker, store and ledger in one SQLite file, for one machine. They keep the same promises as
//! hookbox's drivers for RabbitMQ and PostgreSQL.
//!
//! - One connection per process writes. Its transactions take the file's write lock at their start
//!   (`BEGIN IMMEDIATE`), and each commit syncs the disk (`synchronous=FULL`). Callers get the
//!   writing connection in the order of their requests. A few other connections read and never
//!   wait.
//! - Several processes may open the same file. If one of them holds the lock too long, calls of the
//!   others fail with the fault `Contention`, and nothing is lost.
//! - If the file is deleted, moved or replaced while it is open, nothing is confirmed from then on,
//!   until the process is started again.
//! - A queue is a set of rows. A publish is confirmed when its transaction has committed. A message
//!   in flight has a lease: when the process of its consumer dies, the lease ends and the message
//!   is redelivered.
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
mod file_paths;
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

/// The words by which messages to operators name the file.
const THE_FILE: &str = "the SQLite file";

/// The largest number of rows that one statement inserts. A batch has at most 64 envelopes. With
/// ten bound values per row, a statement stays far below SQLite's limit of bound values.
const ROWS_MAX: usize = 64;
