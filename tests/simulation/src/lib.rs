//! The real engines of hookbox, over fakes of the seams that fail as real servers do.
//!
//! One run is one seed. A few senders post signed webhooks to real ingests, real workers take
//! them to their outcomes, and between them stand a broker and a store in memory that lose
//! confirms, deliver twice, answer a commit with an error, become unavailable, and kill the process
//! at any step. Time is virtual and every choice comes from the seed, so a run repeats itself
//! exactly (I20). It has two phases: faults, and then none at all, in which everything must drain
//! in bounded time. Then `check` compares the responses that senders got with what the store has.
//!
//! What a seam promises is kept by the fakes; what it does not promise is what they break. A run
//! that fails prints the one command that repeats it.

mod accounts;
mod body;
mod broker;
mod chance;
mod check;
mod delivery;
mod engine;
mod fault;
mod handler;
mod isolation;
mod nemesis;
mod process;
mod queues;
mod run;
mod scenario;
mod sender;
mod store;
mod summary;
mod tables;
mod trace;
mod tx;
mod witness;
mod world;

pub use fault::Fault;
pub use run::{Failed, RunResult, run};
pub use summary::Summary;
