//! Tests store and forward, with a real SQLite file for the spool and a broker in memory that is
//! unreachable or slow, or that refuses messages.
//!
//! Each test checks that every event reaches the broker, in the order in which the events arrived.

#![allow(clippy::unwrap_used)]

mod broker;
mod emptying;
mod order;
mod refused;
mod routes;
mod world;
