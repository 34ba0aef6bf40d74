//! The paths around the file: its folder, and the files that SQLite keeps beside it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Returns the folder of the file.
pub(crate) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Returns the path of a file that SQLite keeps beside the database, such as `-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
