//! What tests of several crates share: private servers, the real binary, a proxy that breaks
//! connections, a connection that ends at a chosen read, a service to which events are posted,
//! waiting for a condition, a fake clock, random numbers from a seed, and a measure of how late a
//! test runs.

pub mod binary;
pub mod chance;
#[cfg(feature = "async")]
pub mod closing_stream;
#[cfg(feature = "async")]
pub mod eventually;
#[cfg(feature = "clock")]
pub mod fake_clock;
pub mod lateness;
mod poll_pause;
pub mod proxy;
#[cfg(feature = "async")]
pub mod receiver;
pub mod repository;
pub mod servers;
