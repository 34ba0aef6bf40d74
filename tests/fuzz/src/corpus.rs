//! Reads the committed inputs of a target. Each is a file in `corpus/TARGET/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the folder with the inputs of a target.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// Reads all inputs of a target in the order of their names, so that a seed gives the same run on
/// every machine.
///
/// # Errors
/// When a file cannot be read.
pub fn read(target: &str) -> Result<Vec<Vec<u8>>> {
    let folder = folder(target);
    let listing = std::fs::read_dir(&folder);
    let listing = listing.with_context(|| format!("reading the corpus {}", folder.display()))?;
    let mut paths = Vec::new();
    for file in listing {
        paths.push(file?.path());
    }
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).with_context(|| format!("reading {}", path.display())))
        .collect()
}
