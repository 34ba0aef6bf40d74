//! The JSON Schema of the config file.

/// The JSON Schema of the config file.
pub const SCHEMA: &str = include_str!("../../../schemas/config.json");
