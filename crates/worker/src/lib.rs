//! Broker in, one transaction, settle: the engine that runs handlers, and the [`Handler`] trait.
//!
//! A message of the broker is a batch of envelopes. All of a batch are claimed, handled, settled
//! and committed in one transaction, and then the message is acknowledged. When one handler
//! fails, the transaction is rolled back and the events are run again, each in its own
//! transaction, so that one failure costs its neighbours nothing.
//!
//! The way of a message: `consumer` takes it, `process` brings its events to their outcomes and
//! acknowledges it, `attempt` is one transaction, `registered` is one run of a handler. Beside
//! them `suspicion` plans which events may run beside others, `settle` is the table of what
//! follows from a failure, and `run` does what follows. `inner` is what all parts of a
//! worker share, `route_context` what all work on one route shares.
//!
//! Every `select!` here is `biased`: tokio would poll the branches in a random order otherwise, and
//! the simulation must be able to run an engine twice alike (I20).
//!
//! Architecture invariant: this crate names no driver. It meets them in `hookbox`, and in tests.

mod attempt;
mod attempt_error;
mod attribute;
mod bookkeep;
mod check;
mod claimed_event;
mod claims;
mod collect;
mod config;
mod consumer;
mod counters;
mod error;
mod handler;
mod inner;
mod instance;
mod intake;
mod isolation;
mod own_markers;
mod pause;
mod process;
mod proof;
mod record;
mod registered;
mod rehearse;
mod retry;
mod rights;
mod route_context;
mod run;
mod schedule;
mod settle;
mod slot;
mod source_schemas;
mod standstill;
mod start_markers;
mod suspicion;
mod witness;
mod work;
mod worker;

pub use check::{CompileError, Schemas};
pub use config::{Config, ConflictRule, OnConflict, Route};
pub use counters::{Counters, RouteCounters};
pub use error::{HandlerError, OrReject};
pub use handler::{Event, Handler};
pub use registered::{DynHandler, Registered, register};
pub use rehearse::{Rehearsal, rehearse};
pub use retry::{InvalidRetry, Retry};
pub use source_schemas::SourceSchemas;
pub use worker::Worker;
