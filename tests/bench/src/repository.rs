//! The root of the repository, and the programs of its release build.

use std::env;
use std::path::PathBuf;
use std::process::Command;

pub(crate) use hookbox_testkit::repository::root;

/// Returns a command for the cargo that started this program, in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Returns the folder of everything that is built.
pub(crate) fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}

/// Returns the path of a program in the release build.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}
