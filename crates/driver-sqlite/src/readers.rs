//! The readers: a few connections that cannot write, so that reading never waits for the writer.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};
use tokio::time::timeout;

use crate::Options;
use crate::connect::{self, for_reading};
use crate::diagnose::fault;
use crate::opened_file::OpenedFile;

/// How long to wait for a connection. Reads take milliseconds, so a longer wait means that the file
/// is not reachable.
const ACQUIRE_WAIT: Duration = Duration::from_secs(3);

/// How long truncating the log may take. It is done when the file was displaced, and nothing
/// depends on its success.
const EMPTY_LOG_MAX: Duration = Duration::from_secs(2);

const DOING: &str = "open the SQLite file for reading";

pub(crate) struct Readers {
    pool: SqlitePool,
    file: Arc<OpenedFile>,
    /// A connection that is open from before the file was identified until the driver closes: see
    /// [`OpenedFile`].
    pinned: Arc<Mutex<Option<SqliteConnection>>>,
    /// Whether no other process opens the file.
    exclusive: bool,
}

/// A connection for reading queues.
pub(crate) enum QueueReader {
    Pooled(PoolConnection<sqlx::Sqlite>),
    Pinned(OwnedMappedMutexGuard<Option<SqliteConnection>, SqliteConnection>),
}

impl Readers {
    /// Creates the readers. It opens no connection yet, and keeps the one that it is given.
    pub(crate) fn new(options: &Options, file: Arc<OpenedFile>, pinned: SqliteConnection) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .min_connections(0)
            .acquire_timeout(ACQUIRE_WAIT)
            // A connection to a file does not become stale, and an idle one costs only a file
            // handle.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(for_reading(options));
        Self {
            pool,
            file,
            pinned: Arc::new(Mutex::new(Some(pinned))),
            exclusive: options.exclusive,
        }
    }

    /// Returns a connection for one or more reads.
    pub(crate) async fn take(&self) -> Result<PoolConnection<sqlx::Sqlite>, Fault> {
        let acquired = self.pool.acquire().await;
        // The file is checked after the connection was taken, because a new connection is opened by
        // the path.
        self.file.check().map_err(|gone| gone.fault(DOING))?;
        acquired.map_err(fault(DOING))
    }

    /// Opens a transaction for reads that must see one state. Dropping it ends it.
    pub(crate) async fn snapshot(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, Fault> {
        let begun = self.pool.begin().await;
        self.file.check().map_err(|gone| gone.fault(DOING))?;
        begun.map_err(fault(DOING))
    }

    /// Returns a connection for reading queues. If no other process opens the file, all messages
    /// are delivered even when no path leads to the file.
    pub(crate) async fn take_for_queues(&self) -> Result<QueueReader, Fault> {
        if !(self.exclusive && self.file.is_displaced()) {
            return self.take().await.map(QueueReader::Pooled);
        }
        let slot = Arc::clone(&self.pinned).lock_owned().await;
        OwnedMutexGuard::try_map(slot, Option::as_mut)
            .map(QueueReader::Pinned)
            .map_err(|_| {
                let doing = "read the SQLite file after it was closed";
                Fault::plain(FaultKind::Unavailable, doing)
            })
    }

    /// Writes the data that only the log holds into the file that was opened.
    pub(crate) async fn empty_log(&self) {
        let mut slot = self.pinned.lock().await;
        let Some(connection) = slot.as_mut() else {
            return;
        };
        let emptied = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection);
        match timeout(EMPTY_LOG_MAX, emptied).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "the log of the SQLite file could not be truncated")
            }
            Err(late) => {
                tracing::debug!(%late, "the log of the SQLite file could not be truncated")
            }
        }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
        // The pinned connection closes last, because it keeps the file identified.
        if let Some(connection) = self.pinned.lock().await.take() {
            connect::close(connection).await;
        }
    }
}

impl Deref for QueueReader {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            QueueReader::Pooled(connection) => connection,
            QueueReader::Pinned(connection) => connection,
        }
    }
}

impl DerefMut for QueueReader {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            QueueReader::Pooled(connection) => connection,
            QueueReader::Pinned(connection) => connection,
        }
    }
}
