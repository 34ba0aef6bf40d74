//! Receives webhooks over HTTP. It verifies the sender of each webhook, publishes the webhook to a
//! broker that stores it on disk, and only then answers 200.
//!
//! `receive` is the core: limit → verify → identify → publish → answer. The store is not on this
//! path, so an ingest works while the database is down.
//!
//! Architecture invariant: this crate depends on no driver of a broker. Everything that it
//! publishes is built from a [`hookbox_signature::Verified`].

mod accept;
mod accounting;
mod address_block;
mod batcher;
mod body;
mod body_memory;
mod config;
mod connection;
mod connection_log;
mod counters;
mod failure_log;
mod form;
mod forwarded_header;
mod forwarding;
mod header_text;
mod health;
mod identify;
mod latencies;
mod limits;
mod network;
mod peers;
mod places;
mod read_deadline;
mod receive;
mod refusal_log;
mod refusals;
mod response;
mod router;
mod state;
mod write_deadline;

pub use accept::{DrainTimes, Listener, serve};
pub use config::{Config, EventType, Identity, Source};
pub use connection::serve_stream;
pub use counters::Counters;
pub use latencies::{BOUNDS_SECONDS, Latencies};
pub use limits::Limits;
pub use network::{Network, NetworkError};
pub use peers::Peers;
pub use router::router;
pub use state::Ingest;
