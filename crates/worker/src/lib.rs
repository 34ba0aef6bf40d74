//! Broker in, one transaction, settle: the engine that runs handlers, and the [`Handler`] trait.
//!
//! A message of the broker is a batch of envelopes. All of a batch are claimed, handled, settled
//! and committed in one transaction, and then the message is acknowledged. When one handler
//! fails, the transaction is rolled back and the batch is run again one by one, so that one
//! failure costs its neighbours nothing. See `attempt` for the pipeline and `settle` for the
//! table that says what follows from what.
//!
//! Every `select!` here is `biased`, shutdown first: the order in which branches are looked at is
//! then no coin of tokio's, so that the simulation can run an engine twice alike (I20).
//!
//! Architecture invariant: this crate names no driver. It meets them in `hookbox`, and in tests.

mod attempt;
mod begun;
mod blame;
mod bookkeep;
mod check;
mod claims;
mod collect;
mod config;
mod counters;
mod error;
mod guard;
mod handler;
mod instance;
mod intake;
mod isolation;
mod pause;
mod process;
mod proof;
mod record;
mod registry;
mod rehearse;
mod retry;
mod rights;
mod run;
mod schedule;
mod settle;
mod source_schemas;
mod standstill;
mod suspects;
mod witness;

pub use check::{CompileError, Schemas};
pub use config::{Config, ConflictRule, OnConflict, Route};
pub use counters::{Counters, RouteCounters};
pub use error::{HandlerError, OrReject};
pub use handler::{Event, Handler};
pub use registry::{DynHandler, Registered, register};
pub use rehearse::{Rehearsal, rehearse};
pub use retry::{InvalidRetry, Retry};
pub use run::Worker;
pub use source_schemas::SourceSchemas;
