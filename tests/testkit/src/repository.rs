//! The folder of the repository, and the cargo that builds it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that stands only in the root of the repository.
const LOCK: &str = "Cargo.lock";

/// Returns the folder that contains the `Cargo.toml` of the workspace.
///
/// If cargo runs this program, the root is found from the package that cargo names in the
/// environment. The package from which the program was compiled may be in another checkout, which
/// uses the same folder for its build output.
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

/// Returns a command that runs cargo in the root of the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(cargo_program());
    without_package(&mut command).current_dir(root());
    command
}

/// Returns the path of the cargo that has started this program, or `cargo` if none has.
pub fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Removes from the environment of `command` the variables in which cargo describes the package of
/// this program. This is needed for every command that runs cargo. Some build scripts, such as the
/// one of `ring`, run again when these variables have changed since the last build. If this program
/// passed the variables on, cargo would often build these dependencies, and everything that depends
/// on them, again after a build from a terminal.
pub fn without_package(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether cargo sets this variable for a program that it runs, to describe the program's package:
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html>.
fn describes_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || variable.starts_with("CARGO_MANIFEST_")
        || variable == "OUT_DIR"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_the_manifest_of_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("read");
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn a_build_that_a_program_starts_does_not_know_its_package() {
        // Cargo sets these variables for every test.
        for variable in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            assert!(env::var_os(variable).is_some(), "cargo must set {variable}");
            let command = cargo();
            let mut changes = command.get_envs();
            assert!(
                changes.any(|(name, value)| name == variable && value.is_none()),
                "{variable} must be removed from the environment of the build"
            );
        }
    }
}
