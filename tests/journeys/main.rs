//! The whole product as its users run it: processes, real servers, and things breaking.

#![allow(clippy::unwrap_used, reason = "tests")]

mod absent_file;
mod accounting;
mod alarm;
mod anchor;
mod balancer;
mod broker_tls;
mod clocks;
mod consumer_timeout;
mod contention;
mod credentials;
mod deployment;
mod descriptors;
mod drain;
mod event;
mod foreign_locks;
mod frozen_start;
mod frozen_worker;
mod full_disks;
mod full_spool;
mod gate;
mod healthcheck;
mod innocents;
mod killing;
mod largest;
mod lost_tail;
mod management;
mod memory;
mod migrating;
mod missing_rights;
mod moved_file;
mod neighbours;
mod outages;
mod poison;
mod policies;
mod pooler;
mod quarantine;
mod refused;
mod refused_scores;
mod restored;
mod rights;
mod secrets;
mod sessions;
mod shown;
mod signed;
#[cfg(feature = "skew")]
mod skew;
mod small_disk;
mod spooled;
mod store_refuses;
mod strange_bodies;
mod suspects;
mod time_limit;
mod topology;
