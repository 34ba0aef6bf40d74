//! Keeps enough space on the disk free for checkpoints, which empty SQLite's write-ahead log.
//!
//! A checkpoint writes the pages of the log into the file, which grows by those pages that it does
//! not have yet. The log can fill the disk, because no checkpoint can empty it while a reader has
//! an old snapshot. When that reader has ended, the checkpoint finds no space on the disk, so
//! nothing can ever be written again. Therefore a transaction starts only while the disk has space
//! for the growth of the file and for a reserve. If the space is too small, hookbox first makes a
//! checkpoint and truncates the log.
//!
//! Three kinds of transactions have different reserves. As the disk fills, hookbox first stops
//! accepting events, then stops processing them, and last stops delivering messages. Delivering
//! comes last, because settled messages are deleted, which frees space.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use crate::file::paths::beside;
use crate::file::purpose::Purpose;

/// The largest reserve for one transaction, in bytes. The publisher writes at most 4 MiB in one
/// transaction: first to the log and later to the file.
const RESERVE_MAX: u64 = 8 << 20;

/// The reserve on a small disk is the size of the disk divided by this number.
const RESERVE_SHARE: u64 = 16;

/// The unit, in bytes, of the allocated size that the system reports for a file (stat(2)).
const BLOCK: u64 = 512;

/// The shortest time between two attempts of a checkpoint while the disk is full.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// The statement that sets how long a checkpoint waits for readers. This wait delays no write,
/// because writes are refused while the disk is full.
const CHECKPOINT_WAIT: &str = "pragma busy_timeout = 250";

/// Measures the disk on which one database file lies, and remembers whether it was full at the last
/// measurement.
pub(crate) struct Room {
    path: PathBuf,
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    accept_full: bool,
    process_full: bool,
    checkpointed: Option<Instant>,
}

/// The size and the free space of a disk, in bytes.
#[derive(Debug, Clone, Copy)]
struct Disk {
    total: u64,
    free: u64,
}

/// The error for a full disk.
#[derive(Debug, Clone)]
pub(crate) struct NoRoom {
    path: PathBuf,
}

impl Room {
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            log: beside(path, "-wal"),
            state: Mutex::default(),
        }
    }

    /// Returns an error when the disk has too little space for a transaction of this purpose.
    /// Before that, it tries to free space by a checkpoint. The connection must be able to write
    /// and must not be in a transaction. `patience` is the statement that restores the connection's
    /// busy timeout afterwards.
    pub(crate) async fn secure(
        &self,
        connection: &mut SqliteConnection,
        purpose: Purpose,
        patience: &'static str,
    ) -> Result<(), NoRoom> {
        let is_full = self.state().is_full(purpose);
        let mut fits = self.fits_with(connection, purpose, 0, is_full).await;
        if !fits && self.is_checkpoint_due() {
            self.checkpoint(connection, patience).await;
            fits = self.fits_with(connection, purpose, 0, is_full).await;
        }
        self.note(purpose, fits);
        if fits { Ok(()) } else { Err(self.no_room()) }
    }

    /// Returns whether a transaction of this purpose may write this many more bytes now. Unlike
    /// [`Room::secure`], it makes no checkpoint.
    pub(crate) async fn fits(
        &self,
        connection: &mut SqliteConnection,
        purpose: Purpose,
        bytes: u64,
    ) -> bool {
        let is_full = self.state().is_full(purpose);
        self.fits_with(connection, purpose, bytes, is_full).await
    }

    /// Returns an error when no event can be accepted now: the disk was too full at the most recent
    /// check, or a new measurement, which needs no database query, finds it too full. Otherwise
    /// returns `None`.
    pub(crate) fn refusal(&self) -> Option<NoRoom> {
        let full = self.state().accept_full;
        let is_short = |disk: &Disk| !has(disk, Purpose::Accept, 0, 0, full);
        let is_full = full || self.measure().is_some_and(|disk| is_short(&disk));
        is_full.then(|| self.no_room())
    }

    pub(crate) fn no_room(&self) -> NoRoom {
        NoRoom {
            path: self.path.clone(),
        }
    }

    async fn fits_with(
        &self,
        connection: &mut SqliteConnection,
        purpose: Purpose,
        bytes: u64,
        is_full: bool,
    ) -> bool {
        // When the disk cannot be measured, nothing is refused. If the disk is full, the write
        // itself fails.
        let Some(disk) = self.measure() else {
            return true;
        };
        // The file grows by at most the length of its log. If the disk has space for the whole
        // length, the exact growth need not be queried.
        let log = fs::metadata(&self.log).map_or(0, |found| found.len());
        if has(&disk, purpose, log, bytes, is_full) {
            return true;
        }
        match self.growth(connection, log).await {
            Ok(growth) => has(&disk, purpose, growth, bytes, is_full),
            Err(error) => {
                tracing::debug!(%error, "the size of the SQLite file could not be read");
                false
            }
        }
    }

    fn measure(&self) -> Option<Disk> {
        let found = rustix::fs::statvfs(self.path.as_path()).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // Some file systems report a total size of 0. Then the disk counts as not measured.
        (found.f_blocks > 0).then(|| Disk {
            total: bytes(found.f_blocks),
            free: bytes(found.f_bavail),
        })
    }

    /// Returns by how many bytes a checkpoint of the whole log will make the file grow. This is at
    /// most the length of the log.
    async fn growth(&self, connection: &mut SqliteConnection, log: u64) -> sqlx::Result<u64> {
        let size: i64 = sqlx::query_scalar(
            "select page_count * page_size from pragma_page_count(), pragma_page_size()",
        )
        .fetch_one(connection)
        .await?;
        let file = fs::metadata(&self.path)?;
        // The file already has as much space as its length or its allocated size says, whichever is
        // smaller. The length alone may be too much, because a file may have holes, which take no
        // space on the disk yet.
        let written = file.len().min(file.blocks().saturating_mul(BLOCK));
        let growth = u64::try_from(size).unwrap_or(0).saturating_sub(written);
        Ok(growth.min(log))
    }

    fn is_checkpoint_due(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let last = state.checkpointed;
        let is_due = last.is_none_or(|last| now.duration_since(last) >= CHECKPOINT_EVERY);
        if is_due {
            state.checkpointed = Some(now);
        }
        is_due
    }

    /// Makes a checkpoint, as far as active readers and the free space allow it, and truncates the
    /// log.
    async fn checkpoint(&self, connection: &mut SqliteConnection, patience: &'static str) {
        for statement in [CHECKPOINT_WAIT, "pragma wal_checkpoint(truncate)", patience] {
            if let Err(error) = sqlx::raw_sql(statement).execute(&mut *connection).await {
                tracing::debug!(
                    %error,
                    "a checkpoint of the SQLite file failed, so no space was freed"
                );
            }
        }
    }

    /// Records the result of a check of the free space, and logs when the disk becomes full and
    /// when it has space again.
    fn note(&self, purpose: Purpose, fits: bool) {
        let (was_full, is_full) = {
            let mut state = self.state();
            let was_full = state.accept_full;
            state.note(purpose, fits);
            (was_full, state.accept_full)
        };
        let path = self.path.display();
        if is_full && !was_full {
            tracing::error!(
                path = %path,
                "the disk of {path} is full: no event is accepted until it has room; the space \
                 that is left is reserved for checkpoints of the write-ahead log"
            );
        }
        if was_full && !is_full {
            tracing::info!(path = %path, "the disk of {path} has room again: writing resumes");
        }
    }

    // No code panics while it holds this lock, so the lock is never poisoned.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Records whether the disk had enough space for this purpose. Accepting needs more free space
    /// than processing, so one result may decide both flags: a disk that is too full for processing
    /// is too full for accepting, and space for accepting is also enough for processing.
    fn note(&mut self, purpose: Purpose, fits: bool) {
        match (purpose, fits) {
            (Purpose::Accept, false) => self.accept_full = true,
            (Purpose::Process | Purpose::Operate, true) => self.process_full = false,
            (Purpose::Accept, true) => (self.accept_full, self.process_full) = (false, false),
            (Purpose::Process | Purpose::Operate, false) => {
                (self.accept_full, self.process_full) = (true, true);
            }
            (Purpose::Drain, _) => {}
        }
    }

    fn is_full(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Accept => self.accept_full,
            Purpose::Process | Purpose::Operate => self.process_full,
            Purpose::Drain => false,
        }
    }
}

/// Returns whether the disk has the reserve for this purpose left after the file has grown by
/// `growth` and `bytes` more were written. After the disk was full, somewhat more must be free, or
/// it would be full again with the next event.
fn has(disk: &Disk, purpose: Purpose, growth: u64, bytes: u64, was_full: bool) -> bool {
    let reserve = RESERVE_MAX.min(disk.total / RESERVE_SHARE);
    let wanted = match purpose {
        Purpose::Accept => 2 * reserve,
        Purpose::Process | Purpose::Operate => reserve,
        // Delivering and settling messages does not make the file larger. So it needs no reserve
        // while a checkpoint would not make the file grow.
        Purpose::Drain if growth == 0 => return true,
        Purpose::Drain => reserve / 4,
    };
    let wanted = if was_full {
        wanted + reserve / 4
    } else {
        wanted
    };
    // The bytes are counted twice, because they are written to the log now and to the file later.
    let bytes = bytes.saturating_mul(2);
    disk.free >= growth.saturating_add(wanted).saturating_add(bytes)
}

impl NoRoom {
    /// Converts the error into a fault. `doing` names the failed operation as a verb phrase that
    /// can follow "failed to".
    pub(crate) fn fault(self, doing: &'static str) -> Fault {
        Fault::new(FaultKind::Unavailable, doing, io::Error::from(self))
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(
            f,
            "the disk of {path} is full; nothing is accepted until it has room, and then writing \
             resumes by itself"
        )
    }
}

impl std::error::Error for NoRoom {}

impl From<NoRoom> for io::Error {
    fn from(no_room: NoRoom) -> Self {
        io::Error::new(io::ErrorKind::StorageFull, no_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn disk(total: u64, free: u64) -> Disk {
        Disk {
            total: total * MIB,
            free: free * MIB,
        }
    }

    #[test]
    fn what_the_file_will_grow_by_must_fit_and_a_reserve_beside_it() {
        let large = |free, purpose, growth| has(&disk(1024, free), purpose, growth * MIB, 0, false);
        assert!(large(116, Purpose::Accept, 100));
        assert!(!large(115, Purpose::Accept, 100));
        assert!(large(108, Purpose::Process, 100));
        assert!(!large(107, Purpose::Process, 100));
        assert!(large(102, Purpose::Drain, 100));
        assert!(!large(101, Purpose::Drain, 100));
        // Delivering and settling need no free space while a checkpoint would not make the file
        // grow, so both work even on a full disk.
        assert!(large(0, Purpose::Drain, 0));
        assert!(!large(7, Purpose::Process, 0));
    }

    #[test]
    fn the_reserve_of_a_small_disk_is_a_part_of_it() {
        let small = |free, growth, bytes, was_full| {
            let disk = disk(32, free);
            has(&disk, Purpose::Accept, growth * MIB, bytes * MIB, was_full)
        };
        assert!(small(10, 6, 0, false));
        assert!(!small(9, 6, 0, false));
        // The bytes are counted twice, because they are written to the log now and to the file
        // later.
        assert!(small(10, 4, 1, false));
        assert!(!small(10, 4, 2, false));
        // After a disk was full, more space must be free before events are accepted than on a disk
        // that was never full.
        assert!(!small(10, 6, 0, true));
        assert!(small(11, 6, 0, true));
    }

    #[test]
    fn what_is_accepted_is_processed_and_not_the_other_way_round() {
        let mut state = State::default();
        let mut after = |purpose, fits| {
            state.note(purpose, fits);
            (state.accept_full, state.process_full)
        };
        assert_eq!(after(Purpose::Accept, false), (true, false));
        assert_eq!(after(Purpose::Process, true), (true, false));
        assert_eq!(after(Purpose::Process, false), (true, true));
        assert_eq!(after(Purpose::Process, true), (true, false));
        assert_eq!(after(Purpose::Drain, true), (true, false));
        assert_eq!(after(Purpose::Process, false), (true, true));
        assert_eq!(after(Purpose::Accept, true), (false, false));
        assert_eq!(after(Purpose::Drain, false), (false, false));
    }

    #[test]
    fn it_names_the_disk_and_the_path() {
        let fault = Room::of(Path::new("/var/lib/hookbox.db"))
            .no_room()
            .fault("begin a transaction");
        let words = hookbox_driver::describe(&fault);
        assert!(
            words.contains("the disk of /var/lib/hookbox.db is full"),
            "{words}"
        );
        assert!(crate::diagnose::is_full(&fault), "{fault:?}");
        assert_eq!(fault.kind(), FaultKind::Unavailable);
    }
}
