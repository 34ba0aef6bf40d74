//! The root of the repository, and the programs of its release build.

use std::env;
use std::path::PathBuf;

pub(crate) use hookbox_testkit::repository::{cargo, root};

/// Returns the folder of everything that is built.
pub(crate) fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}

/// Returns the path of a program in the release build.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}
