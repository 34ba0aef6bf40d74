//! Private servers for tests, random numbers from a seed, and a measure of how late a test runs.

pub mod chance;
pub mod lateness;
pub mod servers;
