//! Tests the engine with a store and a broker in memory and with paused time: what becomes of
//! messages when handlers fail, the store is unavailable, or processes die.

#![allow(clippy::unwrap_used)]

mod at_once;
mod attempts;
mod batches;
mod call_script;
mod collect;
mod drain;
mod effect_deferrals;
mod effect_drain;
mod effect_leases;
mod effect_newest;
mod effect_pauses;
mod effect_targets;
mod effects;
mod faults;
mod isolation;
mod isolation_windows;
mod journal;
mod leaving;
mod memory_broker;
mod memory_process;
mod memory_store;
mod newest;
mod pauses;
mod quarantine;
mod reconnects;
mod schedule;
mod script;
mod shared_topics;
mod standstill;
mod stuck_handlers;
mod world;
