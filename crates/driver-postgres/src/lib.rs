//! The store over PostgreSQL: the inbox, written in the same transaction as the effects of the
//! handlers.
//!
//! - [`Postgres`] is a [`hookbox_driver::Store`] and a [`hookbox_driver::Ledger`]; [`Options`]
//!   hold how to reach the database, and [`migrate`] prepares it.
//! - One file per table; every statement is a named function in its table's file.
//! - Whole operations that touch several tables: `claim`, `settle`, `fail`, `requeue`, `replay`.
//!
//! A handler borrows a plain [`sqlx::PgConnection`] inside an open transaction. `begin` on it opens
//! a savepoint. The handler must not end the transaction, and must leave the session unchanged:
//! after each handler that is not hookbox's own, `proof` checks both, and the session is reset.

mod accounts;
mod attempts;
mod audit;
mod backlog;
mod books;
mod claim;
mod claims;
mod column;
mod connection;
mod dead_filter;
mod dead_groups;
mod dead_letters;
mod defer;
mod diagnose;
mod earlier_deaths;
mod event_list;
mod events;
mod fail;
mod history;
mod in_the_way;
mod inspect_server;
mod ledger;
mod lifetime;
mod meta;
mod migrate;
mod names;
mod open;
mod options;
mod proof;
mod query_error;
mod receipts;
mod refusal;
mod refusals;
mod refused;
mod remedy;
mod replay;
mod requeue;
mod retries;
mod retry_list;
mod rights;
mod server;
mod session;
mod settle;
mod silent;
mod starts;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod time_limit;
mod tx;
mod unvouched;
mod witness;
mod written_off;

pub use migrate::{Migrated, migrate, plan};
pub use open::Postgres;
pub use options::Options;
pub use tx::Tx;

#[cfg(test)]
mod canaries;
