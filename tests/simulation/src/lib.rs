//! Runs the real engines of hookbox over an in-memory broker and store that fail as real servers
//! do.
//!
//! One run is one seed. A few senders post signed webhooks to real ingests, and real workers
//! process them. The simulated broker and store lose confirms, deliver messages twice, answer a
//! commit with an error, and become unavailable. Processes are killed at any step. Time is virtual
//! and every choice comes from the seed, so a run repeats exactly (I20). A run has two phases: one
//! with faults, and one without, in which all work must drain in bounded time. Then `check`
//! compares the responses that senders got with the contents of the store.
//!
//! The simulated broker and store keep every promise of the traits `Broker` and `Store`, and break
//! everything that these traits do not promise. A run that fails prints the one command that
//! repeats it.

mod accepted;
mod accounts;
mod body;
mod broker;
mod calls;
mod chance;
mod changes;
mod check;
mod delivery;
mod effect;
mod engine;
mod fault;
mod handler;
mod handler_run;
mod isolation;
mod leases;
mod nemesis;
mod newest;
mod newest_versions;
mod on_route;
mod pauses;
mod process;
mod queues;
mod retry_leases;
mod round;
mod route_controls;
mod run;
mod scenario;
mod sender;
mod settled_receipt;
mod starts;
mod store;
mod summary;
mod tables;
mod target_outages;
mod trace;
mod tx;
mod unavailable;
mod witness;
mod world;

pub use fault::Fault;
pub use run::{Failed, RunResult, run};
pub use summary::Summary;
