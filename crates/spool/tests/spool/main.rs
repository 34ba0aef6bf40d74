//! Tests store and forward, with a real file for the spool and a broker in memory that is
//! unreachable, slow, or refuses something.
//!
//! Each test checks that every event reaches the broker, and in the order in which the events
//! arrived.

#![allow(clippy::unwrap_used)]

mod broker;
mod emptying;
mod order;
mod refused;
mod world;
