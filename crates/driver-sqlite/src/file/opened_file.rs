//! Detects that the path of the database no longer leads to the file that was opened.
//!
//! SQLite keeps writing to the file that it opened, and its commits succeed, after that file has
//! been deleted, renamed or replaced. A restart then does not find what these commits confirmed. So
//! the path is compared with the open file (device and inode number) before a transaction begins,
//! and again after its commit, before anything is confirmed.
//!
//! An inode number is not reused while its file is open. So one connection of this process (see
//! [`crate::file::readers::Readers`]) has the file open from before the numbers are read until the
//! driver closes. The `-wal` and `-shm` files are compared as well. As long as a connection that
//! has read the database is open, SQLite neither deletes nor recreates these files. So if their
//! numbers differ, another program has replaced them, and commits would go to a write-ahead log
//! that no other process reads.
//!
//! Once a difference was found, this driver refuses to write until it is restarted. It does not
//! open the path again, because the file there may be an older backup of the same file, without
//! what was confirmed since.

mod displaced;
mod watch;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use hookbox_driver::OpenError;

use crate::file::paths::beside;
use crate::refused::{by_system, refused};
pub(crate) use displaced::{Displaced, How};
pub(crate) use watch::watch;

/// The numbers by which a file system identifies a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// The database file, its write-ahead log and its shared memory, as they were when they were
/// opened.
pub(crate) struct OpenedFile {
    parts: Vec<Part>,
    /// The random mark that was written into the file when it was created; `None` for a file that
    /// was created by a version before 0.2.0 and not migrated since.
    birth: Mutex<Option<String>>,
    displaced: OnceLock<Displaced>,
    closed: AtomicBool,
}

struct Part {
    path: PathBuf,
    identity: Identity,
}

impl Identity {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

impl Part {
    /// Returns the path and how it differs from the file that was opened; `None` when the path
    /// still leads to that file.
    fn difference(&self) -> Option<(&Path, How)> {
        let how = match fs::metadata(&self.path) {
            Ok(found) if Identity::of(&found) == self.identity => return None,
            Ok(_) => How::Replaced,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => How::Gone,
                kind => How::Unknown(kind),
            },
        };
        Some((&self.path, how))
    }
}

impl OpenedFile {
    /// Records which file is open. The caller must have read the file over a connection that stays
    /// open. `before` is the identity that the path had before the connection was opened. If the
    /// path still has this identity, it is that of the opened file. If not, the file was replaced
    /// meanwhile, which is an error.
    pub(crate) fn new(
        path: &Path,
        before: Identity,
        birth: Option<String>,
    ) -> Result<Self, OpenError> {
        let displaced = || {
            let remedy = "start hookbox when nothing else changes the file";
            refused(path, "was replaced while it was being opened", remedy)
        };
        let unreadable = by_system(path);
        // The path is made absolute, because a relative path would lead elsewhere after a change of
        // the working directory.
        let named = std::path::absolute(path).map_err(&unreadable)?;
        let real = fs::canonicalize(path).map_err(&unreadable)?;
        let mut parts = Vec::new();
        for path in [named, beside(&real, "-wal"), beside(&real, "-shm")] {
            let found = fs::metadata(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => displaced(),
                _ => unreadable(error),
            })?;
            let identity = Identity::of(&found);
            parts.push(Part { path, identity });
        }
        if parts.first().is_none_or(|file| file.identity != before) {
            return Err(displaced());
        }
        Ok(Self {
            parts,
            birth: Mutex::new(birth),
            displaced: OnceLock::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// Checks whether the path still leads to the open file. The check costs three lookups of a
    /// path.
    pub(crate) fn check(&self) -> Result<(), Displaced> {
        if let Some(displaced) = self.displaced.get() {
            return Err(displaced.clone());
        }
        let Some((path, how)) = self.parts.iter().find_map(Part::difference) else {
            return Ok(());
        };
        // SQLite deletes the write-ahead log while it closes the file, and that difference must not
        // be reported. So `closed` is read only after the difference was found.
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(match how {
            How::Gone | How::Replaced | How::Overwritten => self.displace(path, how),
            // The path cannot be looked up at the moment, so this call fails and nothing is
            // confirmed. It is not recorded as displaced, because the error may pass.
            How::Unknown(_) => Displaced::new(path, how),
        })
    }

    /// Ends the checks because the file is about to be closed. SQLite will then delete the
    /// write-ahead log, so later differences mean nothing. Later reads and writes fail anyway,
    /// because readers and the writer are closed.
    pub(crate) fn let_go(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Returns whether a check has found that the file was displaced. Once true, this stays true.
    pub(crate) fn is_displaced(&self) -> bool {
        self.displaced.get().is_some()
    }

    /// Returns whether the write-ahead log beside the path still belongs to the file that was
    /// opened, so that a checkpoint may write its pages into the file. Returns `false` when the log
    /// itself was replaced, and when the file was overwritten, because the pages would then be
    /// written into the other content.
    pub(crate) fn has_its_log(&self) -> bool {
        let file = self.parts.first();
        self.displaced
            .get()
            .is_some_and(|displaced| match displaced.how() {
                How::Gone => true,
                How::Replaced => file.is_some_and(|file| file.path == displaced.path()),
                How::Overwritten | How::Unknown(_) => false,
            })
    }

    /// Compares the random mark of the file at the path with the recorded mark. If none was
    /// recorded, the mark that is found is recorded without a comparison, because `hookbox migrate`
    /// may have written it meanwhile.
    fn check_birth(&self, found: Option<String>) -> Result<(), Displaced> {
        let mut birth = self.birth.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*birth, found) {
            (Some(known), found) if found.as_ref() != Some(known) => {
                let path = self.parts.first().map(|part| part.path.clone());
                Err(self.displace(&path.unwrap_or_default(), How::Overwritten))
            }
            (Some(_), _) | (None, None) => Ok(()),
            (None, found) => {
                *birth = found;
                Ok(())
            }
        }
    }

    /// Records that the file was displaced, and logs this once.
    fn displace(&self, path: &Path, how: How) -> Displaced {
        let displaced = Displaced::new(path, how);
        if self.displaced.set(displaced.clone()).is_ok() {
            tracing::error!(path = %path.display(), "{displaced}");
        }
        displaced
    }
}
