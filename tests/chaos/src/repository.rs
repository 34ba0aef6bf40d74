//! Finds the files of the repository.

use std::path::PathBuf;

use hookbox_testkit::repository::root;

/// Returns the absolute path of a file, given its path in the repository.
pub fn path(name: &str) -> PathBuf {
    root().join(name)
}
