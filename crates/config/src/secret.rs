//! Resolves references to secrets. Their values are read here and never shown.

use std::path::{Path, PathBuf};

use super::file::Reference;
use super::key_file::{self, Text};
use super::needs::Needs;
use super::place::Places;

/// A function that returns the value of an environment variable. It is an argument everywhere, so
/// that tests can use other variables than those of their process.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Reads environment variables of this process.
pub const ENVIRONMENT: Env<'static> = &|name| std::env::var(name).ok();

/// Returns the folder of the config at `path`, to which paths in the config are relative.
pub fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Reads a secret to which the settings of a handler refer, by the rules for all secrets of the
/// config. `folder` is the folder of the config. The error is a text for people, without the
/// secret.
///
/// # Errors
/// When the secret is missing, unreadable or empty.
pub fn read_secret(folder: &Path, env: Env<'_>, reference: &Reference) -> Result<Text, String> {
    let needs = Needs::ALL;
    Secrets { folder, env, needs }.read(reference)
}

/// Where to read secrets from, and which secrets to read.
#[derive(Clone, Copy)]
pub struct Secrets<'a> {
    /// The folder of the config file.
    pub folder: &'a Path,
    /// The function that returns environment variables.
    pub env: Env<'a>,
    /// The secrets to read.
    pub needs: Needs,
}

impl<'a> Secrets<'a> {
    /// Returns the `Secrets` for the config at `path`.
    pub fn of(path: &'a Path, env: Env<'a>, needs: Needs) -> Self {
        let folder = folder(path);
        Self { folder, env, needs }
    }

    /// Reads the secret that a reference names. Surrounding white space is removed, because text
    /// files end with a newline.
    pub fn resolve(&self, at: &str, reference: &Reference, places: &mut Places) -> Option<String> {
        let Text { text, warning } = places.take(at, self.read(reference))?;
        if let Some(warning) = warning {
            places.warn(at, warning);
        }
        Some(text)
    }

    fn read(&self, reference: &Reference) -> Result<Text, String> {
        let Text { text, warning } = self.read_raw(reference)?;
        let text = text.trim();
        if text.is_empty() {
            return Err("the referenced value is empty".to_owned());
        }
        Ok(Text {
            text: text.to_owned(),
            warning,
        })
    }

    fn read_raw(&self, reference: &Reference) -> Result<Text, String> {
        match (&reference.env, &reference.file) {
            (Some(_), None) if reference.mode.is_some() => {
                Err("mode applies only to file: an environment variable has no mode".to_owned())
            }
            (Some(name), None) => match (self.env)(name) {
                Some(text) => Ok(Text {
                    text,
                    warning: None,
                }),
                None => Err(
                    "the referenced environment variable is not set; set it (its name is not \
                     shown, because the name may be the secret itself)"
                        .to_owned(),
                ),
            },
            // The config schema allows only the word "any" for `mode`, so any value of it means
            // "any".
            (None, Some(file)) => {
                key_file::read(&beside(self.folder, file), reference.mode.is_some())
            }
            (Some(_), Some(_)) | (None, None) => {
                Err("the reference must name either env or file".to_owned())
            }
        }
    }
}

/// Returns a path of the config, relative to the folder of the config.
pub fn beside(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}
