//! What handlers and effects are made with, in addition to their settings: the config, its folder
//! and a resolver of host names.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use hookbox_config::{Config, ENVIRONMENT, SecretReference, read_secret};
use hookbox_handlers::{Reference, Resolve, SystemResolver};

/// Why a handler or an effect could not be made from its settings.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What handlers and effects are made with, in addition to their settings.
pub struct MakeContext<'c> {
    /// The config for which the handlers and effects are made.
    pub config: &'c Config,
    /// The folder of the config file. Paths in the config are relative to this folder.
    pub folder: &'c Path,
    /// Resolves the names of hosts. All effects share it, because it limits how many names are
    /// resolved at once.
    pub resolve: Arc<dyn Resolve>,
}

impl<'c> MakeContext<'c> {
    /// Returns the context for making the handlers and effects of a config.
    pub fn of(config: &'c Config) -> Self {
        Self {
            config,
            folder: config.path.parent().unwrap_or(Path::new(".")),
            resolve: Arc::new(SystemResolver::new()),
        }
    }

    /// Reads a secret to which the settings of an effect refer.
    pub fn read_secret(&self, reference: &Reference) -> Result<String, String> {
        let reference = SecretReference {
            env: reference.env.clone(),
            file: reference.file.clone(),
            mode: reference.mode.map(|_any| "any".to_owned()),
        };
        let secret = read_secret(self.folder, ENVIRONMENT, &reference)?;
        if let Some(warning) = secret.warning {
            tracing::warn!("{warning}");
        }
        Ok(secret.text)
    }
}
