//! Finds the config file, and loads it.

use std::path::{Path, PathBuf};

use hookbox_config::{Config, HandlerKinds, Mistakes, Needs};

use super::print;

/// Loads the given config file for a program that has these kinds of handlers. If no file is given,
/// loads the config file that [`find`] returns.
pub fn load(given: Option<&Path>, needs: Needs, kinds: &HandlerKinds) -> Result<Config, Mistakes> {
    Config::load_for(&find(given), needs, kinds)
}

/// Returns the path of the config: `--config`, else `HOOKBOX_CONFIG`, else `./hookbox.toml`, else
/// the config that `hookbox dev` created in this folder.
fn find(given: Option<&Path>) -> PathBuf {
    if let Some(path) = given {
        return path.to_owned();
    }
    if let Some(path) = std::env::var_os("HOOKBOX_CONFIG") {
        return path.into();
    }
    let (usual, dev) = (
        Path::new("hookbox.toml"),
        Path::new(".hookbox-dev/hookbox.toml"),
    );
    if !usual.exists() && dev.exists() {
        print::note(&format!("using {}, made by `hookbox dev`", dev.display()));
        return dev.to_owned();
    }
    usual.to_owned()
}
