//! The root of the repository, its files, and the cargo that built this program.

use std::{fs, io};

pub use hookbox_testkit::repository::{cargo, cargo_program, root, without_package};

/// Returns every file below `folder` that `wanted` accepts: sorted paths from the root, with `/` as
/// separator. Build output and hidden folders are left out.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(folder: &str, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![folder.trim_end_matches('/').to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            if entry.file_type()?.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(path);
                }
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the text of a file, given by its path from the root.
///
/// # Errors
/// When the file cannot be read, or is not UTF-8.
pub fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(root().join(path))
}
