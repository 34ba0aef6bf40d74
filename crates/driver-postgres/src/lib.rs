//! The store over PostgreSQL: the inbox, written in the same transaction as the effects of the
//! handlers.
//!
//! - [`Postgres`] is a [`hookbox_driver::Store`] and a [`hookbox_driver::Ledger`]; [`Options`] say
//!   how to reach the database, and [`migrate`] prepares it.
//! - One file per table; every statement is a named function in its table's file.
//! - Whole operations that touch several tables: `claim`, `compare_versions`, `withdraw`, `settle`,
//!   `fail`, `lease`, `call_ends`, `requeue`, `replay`.
//! - What only a server has, such as connections and rights, is in the folder `server`. The other
//!   files have the same names as in hookbox's driver for SQLite.
//!
//! A handler borrows a plain [`sqlx::PgConnection`] inside an open transaction. `begin` on it opens
//! a savepoint. The handler must not end the transaction, and must leave the session unchanged:
//! after each handler that is not hookbox's own, `proof` checks both, and the session is reset.

mod accounts;
mod attempts;
mod audit;
mod backlog;
mod books;
mod call_ends;
mod claim;
mod claim_states;
mod claims;
mod column;
mod compare_versions;
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
mod history;
mod identity;
mod in_the_way;
mod lease;
mod leases;
mod ledger;
mod meta;
mod migrate;
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
mod server;
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
mod canaries;
#[cfg(feature = "testing")]
pub mod testing;

pub use migrate::{Migrated, migrate, plan};
pub use open::Postgres;
pub use options::Options;
pub use tx::Tx;
