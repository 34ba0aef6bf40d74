//! The engine that takes events from a broker and runs handlers on them in one transaction each,
//! and the [`Handler`] trait.
//!
//! A message of the broker is a batch of envelopes. All envelopes of a batch are claimed, handled,
//! settled and committed in one transaction; then the message is acknowledged. When the handler
//! fails on one event, what it wrote is undone. That event runs again alone, in its own
//! transaction, and the others run again together, so that its failure does not affect them. Where
//! it is not known which event failed, halves of the batch run until it is found.
//!
//! A route has either a handler or an [`Effect`], which makes an external call. `effects` is the
//! path of a message to an effect.
//!
//! The path of a message to a handler: `consumer` takes it, `process` brings its events to their
//! outcomes and acknowledges it, `attempt` is one transaction, and `registered` runs the handler in
//! it. `groups` and `parts` decide which events of a failed batch run together again. `suspicion`
//! plans which events may run beside others, `settle` is the table of what follows from a failure,
//! and `run` carries that out. All parts of a worker share `inner`; all work on one route shares
//! `route_context`.
//!
//! Every `select!` here is `biased`. Otherwise tokio would poll the branches in a random order, and
//! the simulation could not repeat a run of the engine exactly (I20).
//!
//! Architecture invariant: this crate names no driver. Drivers are combined with it in `hookbox`,
//! and in tests.

mod attempt;
mod attempt_error;
mod attribute;
mod batch_error;
mod bookkeep;
mod call;
mod call_error;
mod check;
mod claimed_event;
mod claims;
mod collect;
mod config;
mod consumer;
mod controls;
mod controls_reader;
mod counters;
mod decisions;
pub mod defaults;
mod effect;
mod effects;
mod error;
mod event;
mod groups;
mod handler;
mod handler_check;
mod handler_failure;
mod inner;
mod instance;
mod intake;
mod isolation;
mod json;
mod left;
mod newest;
mod newest_rule;
mod operated_route;
mod operator_pause;
mod outcomes;
mod own_markers;
mod pace;
mod parts;
mod pause;
mod payload;
mod process;
mod proof;
mod pulse;
mod record;
mod registered;
mod rehearse;
mod rehearse_call;
mod retry;
mod retry_batches;
mod rights;
mod route_context;
mod run;
mod run_failure;
mod running_handlers;
mod sample;
mod schedule;
mod settle;
mod settle_messages;
mod slot;
mod source_schemas;
mod stale_events;
mod standstill;
mod start_markers;
mod suspicion;
mod target_permits;
mod time_limits;
mod verdict;
mod witness;
mod work;
mod worker;
mod would_run;

pub use batch_error::BatchError;
pub use call::Call;
pub use call_error::CallError;
pub use check::{CompileError, Schemas};
pub use config::{Config, ConflictRule, OnConflict, Route, RouteWork};
pub use counters::{Counters, RouteCounters};
pub use effect::Effect;
pub use effects::registered::{DynEffect, RegisteredEffect, register_effect};
pub use error::{HandlerError, OrReject};
pub use event::Event;
pub use handler::Handler;
pub use handler_check::RefusedHandler;
pub use json::{Json, JsonValue, Unreachable};
pub use payload::Payload;
pub use registered::{DynHandler, Registered, register};
pub use rehearse::{Form, RehearsalError, rehearse};
pub use rehearse_call::{AfterCall, CallRehearsalError, rehearse_call};
pub use retry::{InvalidRetry, Retry};
pub use running_handlers::RunningHandlers;
pub use sample::Sample;
pub use source_schemas::SourceSchemas;
pub use time_limits::{EFFECT_IN_FLIGHT_MAX, handler_in_flight_max};
pub use worker::Worker;
