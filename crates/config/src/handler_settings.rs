//! The settings of a route's handler: all keys of `handler` other than `kind`.
//!
//! The handler defines the type of its settings, and the handler may belong to another program. So
//! the settings are not in the schema of the config. They are deserialized into the handler's own
//! type, and every key without a field in this type is refused.

mod deserializer;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::wrong_settings::WrongSettings;

/// The settings of a route's handler.
#[derive(Clone, Default, PartialEq)]
pub struct HandlerSettings(Map<String, Value>);

impl HandlerSettings {
    pub(super) fn new(keys: Map<String, Value>) -> Self {
        Self(keys)
    }

    /// Returns whether the handler has no settings: `handler` has no key other than `kind`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the settings as they are written in the config.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Deserializes the settings. A key for which `T` has no field is a mistake, at every level,
    /// even where `T` does not declare `deny_unknown_fields`. (The exception is a struct with
    /// `#[serde(flatten)]`, because serde does not know its keys.)
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, WrongSettings> {
        deserializer::read(&self.0).map_err(WrongSettings::new)
    }
}
