//! A build of hookbox that is measured.

use std::path::{Path, PathBuf};

/// A build of hookbox, and what the table calls it.
pub(crate) struct Program {
    pub name: String,
    pub path: PathBuf,
}

impl Program {
    /// Reads `NAME=PATH`, or a path alone, which is then the name as well.
    pub fn parse(text: &str) -> Program {
        let (name, path) = text.split_once('=').unwrap_or((text, text));
        // The processes of a deployment run in folders of their own, where a relative path would
        // not lead to the program.
        let path = std::path::absolute(path).unwrap_or_else(|_| Path::new(path).to_owned());
        Program {
            name: name.to_owned(),
            path,
        }
    }
}
