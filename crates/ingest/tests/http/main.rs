//! What an ingest answers, over real sockets and against a broker in memory that can misbehave.
//!
//! Every genuine request is followed to the bytes of the batch that the broker got; every other
//! one is shown to have published nothing.

#![allow(clippy::unwrap_used)]

mod bodies;
mod broker;
mod client;
mod drain;
mod fake;
mod forms;
mod framing;
mod good;
mod half_closed;
mod header_types;
mod identities;
mod idle;
mod known_ids;
mod ledger;
mod limits;
mod panics;
mod proxies;
mod shares;
mod signatures;
mod tls;
mod world;
