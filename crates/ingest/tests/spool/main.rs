//! Store and forward: a real file for a spool, before a broker in memory that is away, slow, or
//! refuses something.
//!
//! Every event is followed to the broker, and the order in which it got there is compared with
//! the order in which it came.

#![allow(clippy::unwrap_used)]

mod broker;
mod emptying;
mod order;
mod refused;
mod world;
