//! Private servers, fault proxy, clocks and builders for tests.

pub mod chance;
pub mod servers;
