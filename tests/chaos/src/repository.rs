//! Where the files of the project are.

use std::path::{Path, PathBuf};

/// The path of a file of the project.
pub fn path(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().and_then(Path::parent).unwrap_or(own);
    root.join(name)
}
