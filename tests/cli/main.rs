//! The command line as operators and scripts use it: the real binary with a real SQLite file.
//!
//! The binary is in the folder above the tests; `cargo build -p hookbox` builds it.
#![allow(clippy::unwrap_used)]

mod binary;
mod checking;
mod dead;
mod development;
mod following;
mod generating;
mod help;
mod identities;
mod keys;
mod lists;
mod looking;
mod needs;
mod readme;
mod replaying;
mod routes;
mod service;
mod signing;
mod unwritable;
