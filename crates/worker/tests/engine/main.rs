//! Tests the engine with a store and a broker in memory and with paused time: what becomes of
//! messages when handlers fail, the store is unavailable, or processes die.

#![allow(clippy::unwrap_used)]

mod at_once;
mod attempts;
mod batches;
mod collect;
mod drain;
mod faults;
mod isolation;
mod journal;
mod leaving;
mod memory_broker;
mod memory_process;
mod memory_store;
mod quarantine;
mod schedule;
mod script;
mod shared_topics;
mod standstill;
mod world;
