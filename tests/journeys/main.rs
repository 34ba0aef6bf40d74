//! The whole product as its users run it: processes, real servers, and things breaking.

#![allow(clippy::unwrap_used, reason = "tests")]

mod accounting;
mod broker_tls;
mod clocks;
mod consumer_timeout;
mod contention;
mod deployment;
mod drain;
mod event;
mod frozen_worker;
mod full_disks;
mod killing;
mod largest;
mod lost_tail;
mod memory;
mod migrating;
mod neighbours;
mod outages;
mod poison;
mod pooler;
mod quarantine;
mod refused;
mod secrets;
mod sessions;
mod shown;
mod skew;
mod small_disk;
mod strange_bodies;
mod time_limit;
mod topology;
