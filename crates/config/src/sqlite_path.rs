//! The paths of SQLite files: how the config names them, and whether two of them are one file.

use std::path::{Path, PathBuf};

use super::place::Places;
use super::secret::beside;

/// Returns the path of a `sqlite:` URL. The text after `sqlite:` must be a path without parameters.
pub fn check(at: &str, folder: &Path, path: &str, places: &mut Places) -> Option<PathBuf> {
    if path.is_empty() || path.starts_with("//") || path.contains('?') {
        let what = "after sqlite: there must be a path, without // and without parameters, such as \
                    \"sqlite:hookbox.db\" or \"sqlite:/var/lib/hookbox/hookbox.db\"";
        places.mistake(at, what);
        return None;
    }
    Some(beside(folder, path))
}

/// Returns whether two paths are those of one file, which need not exist yet.
pub fn is_same(one: &Path, other: &Path) -> bool {
    canonical(one) == canonical(other)
}

/// Returns the canonical path of a file, even if the file does not exist yet. Two paths of one file
/// may be written differently; their canonical paths are equal.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    // The parent of a bare file name is an empty path, which stands for the current folder.
    let folder = Path::new(".").join(folder);
    folder.canonicalize().unwrap_or(folder).join(name)
}
