//! The errors when a file cannot be opened: those that an operator has to fix, with a remedy, and
//! those that may pass with time.

use std::fs::File;
use std::io;
use std::path::Path;

use hookbox_driver::OpenError;

use crate::THE_FILE;
use crate::diagnose::{Unusable, unusable};
use crate::file::paths;

/// The remedy for missing rights. hookbox needs rights on the folder as well, because SQLite keeps
/// its write-ahead log there, beside the file.
const ALLOW: &str =
    "give the user of the hookbox process read and write access to the file and its folder";

/// Returns the error for a file that cannot be used, with the remedy.
pub(crate) fn refused(path: &Path, why: impl AsRef<str>, remedy: &str) -> OpenError {
    // The path in the error is absolute, because a relative path would not show in which folder
    // hookbox looked for the file.
    let absolute = std::path::absolute(path);
    let path = absolute.as_deref().unwrap_or(path);
    OpenError::Refused {
        what: THE_FILE,
        why: format!("{} {}", path.display(), why.as_ref()),
        remedy: remedy.to_owned(),
        source: None,
    }
}

/// Returns the error for a missing file, for commands that do not create one.
pub(crate) fn absent(path: &Path) -> OpenError {
    refused(
        path,
        "does not exist",
        "create it with `hookbox migrate` or `hookbox run --create`, or correct its path",
    )
}

/// Returns a function that converts an error of SQLite from opening or reading the file.
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

/// Returns a function that converts an error of the operating system from creating the file or
/// looking it up.
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

/// Returns whether this process has no file descriptor left, which passes with time. SQLite reports
/// this like a missing right, so it is checked here. The check opens the folder and not the file,
/// because closing a file handle drops all locks that this process has on that file, also SQLite's.
fn is_short_of_descriptors(path: &Path) -> bool {
    File::open(paths::folder(path)).is_err_and(|error| {
        !matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
        )
    })
}
