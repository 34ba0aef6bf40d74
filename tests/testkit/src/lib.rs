//! What tests of several crates share: private servers, the real binary, a proxy that breaks
//! connections, waiting for a condition, a fake clock, random numbers from a seed, and a measure of
//! how late a test runs.

pub mod binary;
pub mod chance;
#[cfg(feature = "async")]
pub mod eventually;
#[cfg(feature = "clock")]
pub mod fake_clock;
pub mod lateness;
pub mod proxy;
pub mod repository;
pub mod servers;
