//! The driver: opening the file, proving that it is safe to use, and closing it.

use std::sync::Arc;

use hookbox_driver::OpenError;
use sqlx::sqlite::SqliteConnection;
use tokio::time::timeout;

use crate::connect::{connect, for_writing, prove, unreachable};
use crate::migrate::{self, newest_version};
use crate::shared::Shared;
use crate::{Options, THE_FILE, bell, connect, file, meta, publisher};

/// Broker, store and ledger in one file. Dropped without [`hookbox_driver::Broker::close`], it
/// leaves the file as a killed process would: everything is there, and what was in hand comes
/// again when its lease is over.
pub struct Sqlite {
    pub(crate) shared: Arc<Shared>,
}

impl Sqlite {
    /// Opens a file that [`crate::migrate`] has prepared; changes nothing in it.
    ///
    /// Must be called within a tokio runtime, in which its tasks then live.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        options.check()?;
        file::refuse_network(&options.path)?;
        if !file::is_there(&options.path)? {
            return Err(OpenError::SchemaOlder {
                found: 0,
                wanted: newest_version(),
            });
        }
        let mut connection = connect(&for_writing(&options)).await?;
        let checked = check(&mut connection, &options).await;
        connect::close(connection).await;
        checked?;
        Ok(Self::start(options))
    }

    /// How long SQLite's write-ahead log is now, in bytes. It grows without a bound while somebody
    /// reads an old snapshot, because no checkpoint may pass that; nothing is lost by it, and the
    /// disk may fill.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn log_bytes(&self) -> std::io::Result<u64> {
        let mut name = self.shared.options.path.clone().into_os_string();
        name.push("-wal");
        match std::fs::metadata(name) {
            Ok(found) => Ok(found.len()),
            // Nobody has the file open.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn start(options: Options) -> Self {
        let (shared, line) = Shared::new(options);
        let shared = Arc::new(shared);
        shared
            .tasks
            .spawn(publisher::run(Arc::clone(&shared), line));
        let watching = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            let options = watching.read_options();
            let every = watching.options.poll;
            tokio::select! {
                () = watching.abandoned.cancelled() => {}
                () = bell::watch_others(&watching.bells, &options, every, &watching.closing) => {}
            }
        });
        Self { shared }
    }

    /// Ends in an orderly way: publishes that wait are written, settlements arrive, and what
    /// subscriptions still hold goes back. Calling it again does nothing.
    pub(crate) async fn end(&self) {
        let shared = &self.shared;
        shared.closing.cancel();
        shared.tasks.close();
        // The tasks stand behind at most one unit of somebody else, and write one of their own.
        let patience = shared.options.busy_timeout + shared.options.publish_deadline;
        if timeout(patience, shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                "the SQLite file was locked while closing; what was in hand comes again when its \
                 lease is over"
            );
            shared.abandoned.cancel();
            shared.tasks.wait().await;
        }
        shared.writer.close().await;
        shared.readers.close().await;
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.shared.abandoned.cancel();
    }
}

async fn check(connection: &mut SqliteConnection, options: &Options) -> Result<(), OpenError> {
    let wanted = newest_version();
    let found = migrate::version(connection).await.map_err(unreachable)?;
    migrate::works_on(connection, found).await?;
    if found < wanted {
        return Err(OpenError::SchemaOlder { found, wanted });
    }
    check_environment(connection, options).await?;
    prove(connection).await
}

/// Refuses the file of another environment.
pub(crate) async fn check_environment(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<(), OpenError> {
    let stamp = meta::environment(connection).await.map_err(unreachable)?;
    match stamp {
        Some(found) if found == options.environment.as_str() => Ok(()),
        found => Err(OpenError::Environment {
            what: THE_FILE,
            found: found.unwrap_or_default(),
            wanted: options.environment.to_string(),
        }),
    }
}
