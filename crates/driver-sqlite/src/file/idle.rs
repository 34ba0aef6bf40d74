//! The writing connection while no transaction uses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::sqlite::SqliteConnection;

use crate::file::connect;
use crate::file::leash::Leash;

/// The writing connection; `None` while it is in use, and while there is none. Only the caller that
/// has the turn accesses it.
#[derive(Default)]
pub(super) struct Idle(Mutex<Option<Leashed>>);

/// A connection whose running statement is interrupted when the connection is dropped. Otherwise an
/// endless statement of a handler would keep the file locked for ever, even after the handler's
/// time limit.
pub(super) struct Leashed {
    leash: Leash,
    pub(super) connection: SqliteConnection,
    commits: Arc<AtomicU64>,
}

impl Idle {
    pub(super) fn take(&self) -> Option<Leashed> {
        self.lock().take()
    }

    pub(super) fn put_back(&self, leashed: Leashed) {
        *self.lock() = Some(leashed);
    }

    // No code panics while it holds this lock, so the lock is never poisoned.
    fn lock(&self) -> MutexGuard<'_, Option<Leashed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leashed {
    pub(super) async fn of(mut connection: SqliteConnection) -> sqlx::Result<Self> {
        let leash = Leash::of(&mut connection).await?;
        let commits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&commits);
        let mut handle = connection.lock_handle().await?;
        handle.set_commit_hook(move || {
            counted.fetch_add(1, Ordering::AcqRel);
            true
        });
        drop(handle);
        Ok(Self {
            leash,
            connection,
            commits,
        })
    }

    /// Returns how many transactions the connection has committed, including those that a handler
    /// has committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    pub(super) async fn close(self) {
        let Leashed {
            leash, connection, ..
        } = self;
        connect::close(connection).await;
        drop(leash);
    }
}
