//! The error for a path that no longer leads to the file that was opened.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hookbox_driver::{Fault, FaultKind};

/// The path does not lead to the open file, so hookbox must not confirm anything.
#[derive(Debug, Clone)]
pub(crate) struct Displaced {
    path: PathBuf,
    how: How,
}

/// How the path differs from the file that was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// No file is at the path.
    Gone,
    /// Another file is at the path.
    Replaced,
    /// The file is still at its path, and its content was replaced by that of another database.
    Overwritten,
    /// The path cannot be looked up now.
    Unknown(io::ErrorKind),
}

impl Displaced {
    pub(crate) fn new(path: &Path, how: How) -> Self {
        let path = path.to_owned();
        Self { path, how }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn how(&self) -> How {
        self.how
    }

    /// Converts the error into a fault. `doing` names the failed operation as a verb phrase that
    /// can follow "failed to".
    pub(crate) fn fault(self, doing: &'static str) -> Fault {
        Fault::new(FaultKind::Unavailable, doing, self)
    }
}

impl fmt::Display for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let happened = match self.how {
            How::Gone => "was deleted or moved while hookbox had it open",
            How::Replaced => "was replaced by another file while hookbox had it open",
            How::Overwritten => "was overwritten with another file while hookbox had it open",
            How::Unknown(kind) => return write!(f, "{path} cannot be checked now: {kind}"),
        };
        write!(
            f,
            "{path} {happened}; nothing is written until the right file is in its place and \
             hookbox is restarted"
        )
    }
}

impl Error for Displaced {}

/// Wraps the error in an error of sqlx, for callers that return `sqlx::Result`.
impl From<Displaced> for sqlx::Error {
    fn from(displaced: Displaced) -> Self {
        sqlx::Error::Io(io::Error::other(displaced))
    }
}
