//! The keys of a route's `handler` beside `kind`: the settings of that handler.
//!
//! The types of the settings belong to the handler, which may be one of another program. So they
//! are not in the schema of the config. They are deserialized into the handler's own type, and
//! every key that this type does not take is refused.

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

    /// Returns whether the config has no key beside `kind`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the settings as they are written in the config.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Deserializes the settings. A key that `T` does not take is a mistake, at every level, even
    /// where `T` does not declare `deny_unknown_fields`. (The exception is a struct with
    /// `#[serde(flatten)]`, which does not tell serde its keys.)
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, WrongSettings> {
        deserializer::read(&self.0).map_err(WrongSettings::new)
    }
}
