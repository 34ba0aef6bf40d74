//! Ends the running statement of a connection when its caller stops waiting for it.
//!
//! sqlx runs the statements of a connection on a thread. When the future that waits for a statement
//! is dropped, this thread learns of it only when the statement returns a row or ends. Until then,
//! the statement keeps its connection, its snapshot and its locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnection;

/// How many steps of SQLite's virtual machine a statement runs between two checks whether its leash
/// was dropped. That many steps take some tenths of a millisecond.
const STEPS_BETWEEN_CHECKS: i32 = 10_000;

/// Belongs to the caller that uses a connection. When it is dropped, SQLite interrupts the
/// statement that runs on the connection.
pub(crate) struct Leash(Arc<AtomicBool>);

impl Leash {
    /// Returns a new leash of the connection, which replaces an earlier one. If a statement of an
    /// earlier caller is still running, this waits for its end.
    pub(crate) async fn of(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let dropped = Arc::new(AtomicBool::new(false));
        let checked = Arc::clone(&dropped);
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS_BETWEEN_CHECKS, move || {
            !checked.load(Ordering::Relaxed)
        });
        Ok(Self(dropped))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
