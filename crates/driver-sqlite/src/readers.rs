//! The readers: a few connections that cannot write, so that reading never waits for the writer.

use std::time::Duration;

use hookbox_driver::Fault;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use crate::Options;
use crate::connect::for_reading;
use crate::diagnose::fault;

/// How long to wait for a connection. Reads take milliseconds, so this means that the file is
/// not reachable.
const ACQUIRE_WAIT: Duration = Duration::from_secs(3);

pub(crate) struct Readers {
    pool: SqlitePool,
}

impl Readers {
    /// Opens nothing yet.
    pub(crate) fn new(options: &Options) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .min_connections(0)
            .acquire_timeout(ACQUIRE_WAIT)
            // A connection to a file does not go stale, and an idle one costs a file handle.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(for_reading(options));
        Self { pool }
    }

    /// A connection for one or more reads.
    pub(crate) async fn take(&self) -> Result<PoolConnection<sqlx::Sqlite>, Fault> {
        self.pool
            .acquire()
            .await
            .map_err(fault("open the SQLite file for reading"))
    }

    /// A transaction, for reads that must see one state. Dropped, it ends.
    pub(crate) async fn snapshot(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, Fault> {
        self.pool
            .begin()
            .await
            .map_err(fault("open the SQLite file for reading"))
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}
