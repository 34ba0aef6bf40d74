//! Tests what an ingest answers, over real sockets and with a broker in memory that can misbehave.
//!
//! For every genuine request, a test checks the bytes of the batch that the broker received. For
//! every other request, it checks that nothing was published.

#![allow(clippy::unwrap_used)]

mod bodies;
mod broker;
mod client;
mod conditions;
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
mod unread_bodies;
mod world;
