//! Private servers for tests, chance from a seed, and how late a test runs.

pub mod chance;
pub mod lateness;
pub mod servers;
