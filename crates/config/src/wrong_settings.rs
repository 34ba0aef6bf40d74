//! The mistakes in the settings of a handler.

use std::fmt;

use super::place::readable;

/// Why the settings of a handler cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSettings(Vec<WrongSetting>);

/// One mistake in the settings of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    /// The JSON Pointer from the settings to the value.
    pub at: String,
    /// What is wrong with the value. This text does not contain the value itself.
    pub what: String,
}

impl WrongSettings {
    /// Creates the error from the mistakes. There must be at least one mistake.
    pub fn new(wrong: Vec<WrongSetting>) -> Self {
        Self(wrong)
    }

    /// Returns the mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &WrongSetting> {
        self.0.iter()
    }
}

impl fmt::Display for WrongSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, WrongSetting { at, what }) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            match readable(at) {
                key if key.is_empty() => f.write_str(what)?,
                key => write!(f, "{key}: {what}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for WrongSettings {}
