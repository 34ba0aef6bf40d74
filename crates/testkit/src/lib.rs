//! Private servers for tests, and chance from a seed.

pub mod chance;
pub mod servers;
