//! Tests calls to real services on this machine, most of which misbehave.

#![allow(clippy::unwrap_used)]

mod addresses;
mod answers;
mod connections;
mod limits;
mod service;
mod tls;
mod world;
