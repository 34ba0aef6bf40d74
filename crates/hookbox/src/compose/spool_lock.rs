//! The lock file beside a spool. It ensures that only one process uses a spool, and that a spool
//! that was created once is never created again.
//!
//! Two processes would forward each other's events out of order, and delay each other at every
//! restart. If a spool disappears, its events are lost, and a new empty spool in its place would
//! hide the loss. So the lock file records that the spool was created.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hookbox_driver::OpenError;

/// The name of the spool in error texts.
pub const WHAT: &str = "the spool";

/// The content of the lock file once its spool has been created.
const CREATED: &str = "The spool beside this file was created. While this file says so, hookbox \
    creates no other spool in its place.\n";

/// The lock of a spool, held until this value is dropped. The operating system releases it when the
/// process dies.
pub struct SpoolLock {
    file: File,
    spool: PathBuf,
    path: PathBuf,
}

impl SpoolLock {
    /// Takes the lock of a spool. The lock is a file beside the spool, because no other code may
    /// open a SQLite file while SQLite uses it.
    pub fn take(spool: &Path) -> Result<Self, OpenError> {
        // Error texts contain the path, and a relative path would not show in which folder the
        // spool is.
        let spool = std::path::absolute(spool).unwrap_or_else(|_| spool.to_owned());
        let mut path = spool.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = opened.map_err(|error| unusable(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, spool, path }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Options {
                what: WHAT,
                why: format!(
                    "another hookbox process uses the spool and holds {}; give each ingest its own \
                     spool",
                    path.display()
                ),
            }),
            Err(TryLockError::Error(error)) => Err(unusable(&path, error)),
        }
    }

    /// Returns an error if the spool was created before, because a spool must not be created a
    /// second time.
    pub fn allows_creation(&self) -> Result<(), OpenError> {
        let written = self.file.metadata();
        if written.map_err(|error| unusable(&self.path, error))?.len() == 0 {
            return Ok(());
        }
        let (spool, lock) = (self.spool.display(), self.path.display());
        Err(OpenError::Refused {
            what: WHAT,
            why: format!(
                "{spool} was created before and is gone, or empty; accepted events may be lost"
            ),
            remedy: format!(
                "put the spool file back; or, to start with an empty spool, delete {lock} and the \
                 remaining files {spool}-wal and {spool}-shm"
            ),
            source: None,
        })
    }

    /// Records in the lock file that the spool was created. If the record cannot be written because
    /// the disk is full, a later start writes it.
    pub fn was_created(&mut self) {
        let written = self.file.metadata().and_then(|found| match found.len() {
            0 => self
                .file
                .write_all(CREATED.as_bytes())
                .and_then(|()| self.file.sync_all()),
            _ => Ok(()),
        });
        if let Err(error) = written {
            let path = self.path.display();
            tracing::warn!(
                %error,
                "the lock file {path} does not record yet that the spool was created; a later \
                 start records it: {error}"
            );
        }
    }
}

impl Drop for SpoolLock {
    /// Unlocks the file. Closing the file is not enough if another thread starts a process at this
    /// moment: until the child process calls exec, it has a copy of the file descriptor. A lock
    /// taken with flock(2) is held until all copies are closed, or until one of them is unlocked.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            let path = self.path.display();
            tracing::warn!(%error, "the lock {path} of the spool could not be released: {error}");
        }
    }
}

fn unusable(path: &Path, error: std::io::Error) -> OpenError {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem => OpenError::Refused {
            what: WHAT,
            why: format!(
                "the lock file {} of the spool cannot be used",
                path.display()
            ),
            remedy: "create its folder, let the user that hookbox runs as write there, or correct \
                     the path"
                .to_owned(),
            source: Some(error.into()),
        },
        _ => OpenError::Unavailable {
            what: WHAT,
            source: error.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_created_once() {
        let folder = std::env::temp_dir().join(format!("hookbox-lock-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let spool = folder.join("spool.db");
        let mut lock = SpoolLock::take(&spool).unwrap();
        assert!(matches!(
            SpoolLock::take(&spool),
            Err(OpenError::Options { .. })
        ));
        // The lock was taken, but no spool was created. A process that dies at this point leaves
        // the same state, so a later process must be allowed to create the spool.
        assert!(lock.allows_creation().is_ok());
        lock.was_created();
        lock.was_created();
        drop(lock);
        let lock = SpoolLock::take(&spool).unwrap();
        let said = lock.allows_creation().unwrap_err().to_string();
        assert!(said.contains(spool.to_str().unwrap()), "{said}");
        drop(lock);
        std::fs::remove_dir_all(&folder).unwrap();
        let nowhere = SpoolLock::take(&spool);
        assert!(matches!(nowhere, Err(OpenError::Refused { .. })));
    }

    /// A process that another thread is starting has a copy of the open lock file until it runs its
    /// own program. Such a copy must not keep the spool locked.
    #[test]
    fn a_copy_of_the_open_file_keeps_no_lock() {
        let folder = std::env::temp_dir().join(format!("hookbox-copy-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let spool = folder.join("spool.db");
        let lock = SpoolLock::take(&spool).unwrap();
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        let again = SpoolLock::take(&spool).map(drop);
        assert!(again.is_ok(), "{again:?}");
        drop(copy);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
