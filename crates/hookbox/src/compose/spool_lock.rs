//! One process uses a spool: two would forward each other's events out of their order, and hold
//! each other up at every restart.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hookbox_driver::OpenError;

/// What it is called where it is at fault.
const WHAT: &str = "the spool";

/// Takes the lock of a spool for as long as the file is open; the system takes it from a process
/// that dies. It lies beside the spool: a file of SQLite must not be opened beside SQLite.
pub fn lock(spool: &Path) -> Result<File, OpenError> {
    let mut path = spool.as_os_str().to_owned();
    path.push(".lock");
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let unavailable = |error: std::io::Error| OpenError::Unavailable {
        what: WHAT,
        source: error.into(),
    };
    let file = opened.map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Options {
            what: WHAT,
            why: format!(
                "another hookbox uses it and holds {}; give each ingest a spool of its own",
                path.display()
            ),
        }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}
