//! Finds the files of the repository.

use std::path::{Path, PathBuf};

/// Returns the absolute path of a file, given its path in the repository.
pub fn path(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().and_then(Path::parent).unwrap_or(own);
    root.join(name)
}
