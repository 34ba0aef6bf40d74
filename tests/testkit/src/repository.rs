//! The folder of the repository.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A file that stands only in the root of the repository.
const LOCK: &str = "Cargo.lock";

/// Returns the folder that contains the `Cargo.toml` of the workspace.
///
/// If cargo runs this program, the package that cargo names is used, and not the package that the
/// program was compiled from: that may be in another checkout, which uses the same folder for its
/// build output.
pub fn root() -> PathBuf {
    let running = env::var_os("CARGO_MANIFEST_DIR");
    let compiled = OsString::from(env!("CARGO_MANIFEST_DIR"));
    let package = PathBuf::from(running.unwrap_or(compiled));
    found_above(&package).unwrap_or(&package).to_owned()
}

fn found_above(package: &Path) -> Option<&Path> {
    let mut folders = package.ancestors();
    folders.find(|folder| folder.join(LOCK).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_the_manifest_of_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("read");
        assert!(manifest.contains("[workspace]"));
    }
}
