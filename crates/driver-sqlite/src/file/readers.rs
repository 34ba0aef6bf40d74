//! The readers: a few connections that cannot write. Reads use them, so that a read never waits for
//! the writing connection. A read that its caller gives up, as at a time limit, ends at once, and
//! its connection is free again.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions};
use sqlx::{Sqlite, Transaction};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};
use tokio::time::timeout;

use crate::Options;
use crate::diagnose::fault;
use crate::file::connect::{self, for_reading};
use crate::file::leash::Leash;
use crate::file::opened_file::OpenedFile;

/// How long to wait for a connection. Reads take milliseconds, so if no connection becomes free
/// within this time, the file cannot be reached.
const ACQUIRE_WAIT: Duration = Duration::from_secs(3);

/// The time limit for the checkpoint that empties the write-ahead log after the file was displaced.
/// Nothing depends on the success of this checkpoint.
const EMPTY_LOG_MAX: Duration = Duration::from_secs(2);

const DOING: &str = "open the SQLite file for reading";

pub(crate) struct Readers {
    pool: SqlitePool,
    file: Arc<OpenedFile>,
    /// A connection that is open from before the identity of the file was recorded until the driver
    /// closes. [`OpenedFile`] needs it.
    pinned: Arc<Mutex<Option<SqliteConnection>>>,
    /// Whether the caller keeps every other process from using the file.
    exclusive: bool,
}

/// A connection that one caller uses for reading. When this value is dropped, a statement that
/// still runs on the connection is interrupted, and then the connection is free for other callers.
pub(crate) struct Reader<C> {
    // The leash is declared before the connection, so that it is also dropped before it.
    leash: Leash,
    connection: C,
}

/// A connection of the pool.
type Pooled = PoolConnection<Sqlite>;

/// The connection that keeps the file open.
type Pinned = OwnedMappedMutexGuard<Option<SqliteConnection>, SqliteConnection>;

/// A connection for reading queues.
pub(crate) enum QueueReader {
    Pooled(Reader<Pooled>),
    Pinned(Reader<Pinned>),
}

impl Readers {
    /// Creates the readers. `pinned` is kept open until they are closed; other connections are
    /// opened when they are first needed.
    pub(crate) fn new(options: &Options, file: Arc<OpenedFile>, pinned: SqliteConnection) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .min_connections(0)
            .acquire_timeout(ACQUIRE_WAIT)
            // An idle connection is neither tested nor closed, because a connection to a file does
            // not break while it is idle, and costs only a file handle.
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

    /// Returns a connection from the pool for one or more reads.
    pub(crate) async fn take(&self) -> Result<Reader<Pooled>, Fault> {
        let acquired = self.pool.acquire().await;
        // The file is checked after the connection was acquired, because the pool opens new
        // connections by the path, which may lead to another file by then.
        self.file.check().map_err(|gone| gone.fault(DOING))?;
        let connection = acquired.map_err(fault(DOING))?;
        Reader::of(connection).await.map_err(fault(DOING))
    }

    /// Opens a read transaction, whose reads all see the same snapshot. Dropping the transaction
    /// ends it.
    pub(crate) async fn snapshot(&self) -> Result<Reader<Transaction<'static, Sqlite>>, Fault> {
        let Reader { leash, connection } = self.take().await?;
        let begun = Transaction::<'static, Sqlite>::begin(connection, None).await;
        let connection = begun.map_err(fault(DOING))?;
        Ok(Reader { leash, connection })
    }

    /// Returns a connection for reading queues. When no other process uses the file, this also
    /// works after the file was displaced: the pinned connection still reads the opened file, so
    /// all messages in it are delivered.
    pub(crate) async fn take_for_queues(&self) -> Result<QueueReader, Fault> {
        if !(self.exclusive && self.file.is_displaced()) {
            return self.take().await.map(QueueReader::Pooled);
        }
        let slot = Arc::clone(&self.pinned).lock_owned().await;
        let pinned = OwnedMutexGuard::try_map(slot, Option::as_mut).map_err(|_| {
            let doing = "read the SQLite file after it was closed";
            Fault::plain(FaultKind::Unavailable, doing)
        })?;
        let reader = Reader::of(pinned).await.map_err(fault(DOING))?;
        Ok(QueueReader::Pinned(reader))
    }

    /// Writes the pages that are only in the write-ahead log into the file that was opened, and
    /// truncates the log.
    pub(crate) async fn empty_log(&self) {
        let mut slot = self.pinned.lock().await;
        let Some(connection) = slot.as_mut() else {
            return;
        };
        let emptied = sqlx::raw_sql("pragma wal_checkpoint(truncate)").execute(connection);
        match timeout(EMPTY_LOG_MAX, emptied).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(
                    %error,
                    "the write-ahead log of the displaced SQLite file could not be truncated"
                );
            }
            Err(late) => {
                tracing::debug!(
                    %late,
                    "the write-ahead log of the displaced SQLite file could not be truncated"
                );
            }
        }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
        // The pinned connection closes last, because the recorded identity of the file is valid
        // only while this connection is open.
        if let Some(connection) = self.pinned.lock().await.take() {
            connect::close(connection).await;
        }
    }
}

impl<C: DerefMut<Target = SqliteConnection>> Reader<C> {
    async fn of(mut connection: C) -> sqlx::Result<Self> {
        let leash = Leash::of(&mut connection).await?;
        Ok(Self { leash, connection })
    }
}

impl<C: Deref<Target = SqliteConnection>> Deref for Reader<C> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl<C: DerefMut<Target = SqliteConnection>> DerefMut for Reader<C> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
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
