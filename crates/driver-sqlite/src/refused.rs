//! Why a file is not opened: what an operator has to fix, or what may pass with time.

use std::fs::File;
use std::io;
use std::path::Path;

use hookbox_driver::OpenError;

use crate::diagnose::{Unusable, unusable};
use crate::{THE_FILE, file};

/// How to grant the right to use a file, and to keep its log beside it.
const ALLOW: &str = "let the user that hookbox runs as read and write the file and its folder";

/// A file that cannot be used, and what to do.
pub(crate) fn refused(path: &Path, why: impl AsRef<str>, remedy: &str) -> OpenError {
    // A relative one would leave open which folder it is in.
    let absolute = std::path::absolute(path);
    let path = absolute.as_deref().unwrap_or(path);
    OpenError::Refused {
        what: THE_FILE,
        why: format!("{} {}", path.display(), why.as_ref()),
        remedy: remedy.to_owned(),
        source: None,
    }
}

/// There is no file, and this is not a command that creates one.
pub(crate) fn absent(path: &Path) -> OpenError {
    refused(
        path,
        "does not exist",
        "create it with `hookbox migrate` or `hookbox run --create`, or correct its path",
    )
}

/// SQLite could not open or read it.
pub(crate) fn by_sqlite(path: &Path) -> impl Fn(sqlx::Error) -> OpenError {
    move |error| {
        let (why, remedy) = match unusable(&error) {
            Some(Unusable::NoDatabase) => ("is not a SQLite database", "name another file"),
            Some(Unusable::Damaged) => ("is damaged", "restore it from a backup"),
            Some(Unusable::Foreign) => (
                "has tables that hookbox did not create",
                "give hookbox a file of its own",
            ),
            Some(Unusable::Forbidden) if !is_short_of_descriptors(path) => {
                ("cannot be opened for writing", ALLOW)
            }
            Some(Unusable::Forbidden) | None => {
                return OpenError::Unavailable {
                    what: THE_FILE,
                    source: error.into(),
                };
            }
        };
        with_source(refused(path, why, remedy), error)
    }
}

/// The system could not create it, or look it up.
pub(crate) fn by_system(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |error| {
        let (why, remedy) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (
                "lies in a folder that does not exist",
                "create the folder, or correct the path",
            ),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ("cannot be reached by this user", ALLOW)
            }
            _ => {
                return OpenError::Unavailable {
                    what: THE_FILE,
                    source: error.into(),
                };
            }
        };
        with_source(refused(path, why, remedy), error)
    }
}

fn with_source(
    refused: OpenError,
    error: impl std::error::Error + Send + Sync + 'static,
) -> OpenError {
    match refused {
        OpenError::Refused {
            what, why, remedy, ..
        } => OpenError::Refused {
            what,
            why,
            remedy,
            source: Some(error.into()),
        },
        other => other,
    }
}

/// SQLite reports the same when this process has no descriptor left, which passes with time. The
/// folder is opened to find out: opening and closing the file itself would drop SQLite's locks on
/// it.
fn is_short_of_descriptors(path: &Path) -> bool {
    File::open(file::folder(path)).is_err_and(|error| {
        !matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
        )
    })
}
