//! The whole product as its users run it: processes, real servers, and things breaking.

#![allow(clippy::unwrap_used, reason = "tests")]

mod accounting;
mod anchor;
mod broker_tls;
mod clocks;
mod consumer_timeout;
mod deployment;
mod drain;
mod full_disks;
mod killing;
mod largest;
mod management;
mod migrating;
mod outages;
mod poison;
mod pooler;
mod quarantine;
mod refused;
mod secrets;
mod shown;
mod skew;
mod small_disk;
mod suspects;
mod topology;
