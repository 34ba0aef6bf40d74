//! Opens the file, checks that it is safe to use, and closes it.

use std::sync::Arc;

use hookbox_driver::{Fault, OpenError, Store};
use sqlx::sqlite::SqliteConnection;
use tokio::time::timeout;

use crate::broker::{notifier, publisher};
use crate::file::connect;
use crate::file::connect::{connect, for_writing, prove};
use crate::file::opened_file::{self, Identity, OpenedFile};
use crate::file::paths::beside;
use crate::file::purpose::Purpose;
use crate::file::shared::Shared;
use crate::migrate;
use crate::refused::{absent, by_sqlite};
use crate::{Options, THE_FILE, file, identity, meta};

/// Broker, store and ledger in one file. When it is dropped without
/// [`hookbox_driver::Broker::close`], it leaves the file as a killed process would: nothing is
/// lost, and messages in flight are redelivered when their leases end.
pub struct Sqlite {
    pub(crate) shared: Arc<Shared>,
}

impl Sqlite {
    /// Opens a file that [`crate::migrate`] has prepared. Opening changes nothing in the file, and
    /// never creates a file.
    ///
    /// Must be called within a tokio runtime, because the driver starts its tasks there.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        options.check()?;
        let path = &options.path;
        file::refuse_network(path)?;
        let found = file::look_up(path)?.ok_or_else(|| absent(path))?;
        let mut connection = connect(&for_writing(&options), path).await?;
        match identify(&mut connection, &options, Identity::of(&found)).await {
            Ok(file) => Ok(Self::start(options, file, connection)),
            Err(error) => {
                connect::close(connection).await;
                Err(error)
            }
        }
    }

    /// Returns the length of SQLite's write-ahead log in bytes. The log grows without a limit while
    /// a reader holds an old snapshot, because no checkpoint can pass that snapshot. Nothing is
    /// lost, but the disk may fill.
    ///
    /// # Errors
    /// When the file system does not report the length.
    pub fn log_bytes(&self) -> std::io::Result<u64> {
        match std::fs::metadata(beside(&self.shared.options.path, "-wal")) {
            Ok(found) => Ok(found.len()),
            // SQLite deletes the write-ahead log when the last process closes the file. Then the
            // length counts as 0.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn start(options: Options, file: OpenedFile, pinned: SqliteConnection) -> Self {
        let (shared, line) = Shared::new(options, file, pinned);
        let shared = Arc::new(shared);
        shared
            .tasks
            .spawn(publisher::run(Arc::clone(&shared), line));
        let watching = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            let options = watching.read_options();
            let every = watching.options.poll;
            let (notifiers, stop) = (&watching.notifiers, &watching.closing);
            let polling = notifier::poll_other_processes(notifiers, &options, every, stop);
            tokio::select! {
                () = watching.abandoned.cancelled() => {}
                () = polling => {}
            }
        });
        let checking = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            tokio::select! {
                () = checking.abandoned.cancelled() => {}
                () = opened_file::watch(&checking) => {}
            }
        });
        Self { shared }
    }

    /// Closes the driver in an orderly way: waiting publishes and settlements are written, and
    /// messages that are still in flight return to their queues. A repeated call does nothing.
    pub(crate) async fn end(&self) {
        let shared = &self.shared;
        shared.closing.cancel();
        shared.tasks.close();
        // Before it ends, each task waits for at most one transaction of another caller, and then
        // commits its own last one. `patience` is the time that these two transactions may take.
        let patience = shared.options.busy_timeout + shared.options.publish_deadline;
        if timeout(patience, shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                "the SQLite file was locked while closing; messages in flight are \
                 redelivered when their lease runs out"
            );
            shared.abandoned.cancel();
            shared.tasks.wait().await;
        }
        shared.writer.close().await;
        if shared.options.exclusive && shared.file.has_its_log() {
            // If the file was displaced, its write-ahead log is still at the path, and SQLite would
            // apply this log to the file that is put there next. So a checkpoint writes the log
            // into the displaced file and empties it. This is done only when no other process can
            // be using the log.
            shared.readers.empty_log().await;
        }
        shared.file.let_go();
        shared.readers.close().await;
    }

    /// Checks that the file can be read, as [`Store::ping`] does, and that its disk has space for
    /// events. If the disk has too little space, this tries to free some by a checkpoint of the
    /// write-ahead log, even while nothing else writes. The worker must not use this check to find
    /// out whether the store is available again, because on a full disk the store is available, and
    /// there may still be space for processing.
    ///
    /// # Errors
    /// When the file cannot be read, or its disk is full.
    pub async fn probe(&self) -> Result<(), Fault> {
        self.ping().await?;
        let shared = &self.shared;
        let mut reader = shared.readers.take().await?;
        let has_room = shared.room.fits(&mut reader, Purpose::Accept, 0).await;
        drop(reader);
        if !has_room {
            let unit = shared.writer.begin_to_accept().await?;
            unit.rollback().await;
        }
        Ok(())
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.shared.abandoned.cancel();
    }
}

/// Checks the file that was opened, and records its identity. Afterwards the connection can only
/// read.
async fn identify(
    connection: &mut SqliteConnection,
    options: &Options,
    before: Identity,
) -> Result<OpenedFile, OpenError> {
    let path = &options.path;
    let wanted = migrate::newest();
    let found = migrate::version(connection, options).await?;
    migrate::works_on_newer(connection, options, found).await?;
    if found < wanted {
        return Err(OpenError::SchemaOlder { found, wanted });
    }
    migrate::same_environment(connection, options).await?;
    identity::compare(connection, options)
        .await?
        .required(THE_FILE)?;
    prove(connection, options).await?;
    let birth = meta::birth(connection).await.map_err(by_sqlite(path))?;
    sqlx::raw_sql("pragma query_only = on")
        .execute(connection)
        .await
        .map_err(by_sqlite(path))?;
    OpenedFile::new(path, before, birth)
}
