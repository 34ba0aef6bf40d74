//! Secrets are references: what they refer to is read here, and never shown.

use std::path::{Path, PathBuf};

use super::file::Reference;

/// The environment, as an argument.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Reads what a reference refers to. White space around it is dropped: files end in a newline.
pub fn resolve(folder: &Path, reference: &Reference, env: Env<'_>) -> Result<String, String> {
    let text = match (&reference.env, &reference.file) {
        (Some(name), None) => env(name)
            .ok_or_else(|| format!("the environment variable {name} is not set; set it"))?,
        (None, Some(file)) => {
            let path = beside(folder, file);
            std::fs::read_to_string(&path)
                .map_err(|error| format!("the file {} cannot be read ({error})", path.display()))?
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err("it must name one of env and file".into());
        }
    };
    let text = text.trim();
    if text.is_empty() {
        return Err("what it refers to is empty".into());
    }
    Ok(text.to_owned())
}

/// A path of the config: relative to the config's own folder.
pub fn beside(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}
