//! Wakes subscriptions that wait for messages: at once for messages that this process writes, and
//! by polling SQLite's change counter for messages of other processes.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::file::connect;

/// One notifier for each queue, to which the subscriptions of the queue listen.
pub(crate) struct Notifiers {
    by_queue: HashMap<String, watch::Sender<u64>>,
}

impl Notifiers {
    pub(crate) fn new(queues: impl IntoIterator<Item = String>) -> Self {
        let by_queue = queues
            .into_iter()
            .map(|queue| (queue, watch::Sender::new(0)))
            .collect();
        Self { by_queue }
    }

    /// Notifies the subscriptions of this queue that it may hold a message.
    pub(crate) fn notify(&self, queue: &str) {
        if let Some(notifier) = self.by_queue.get(queue) {
            notifier.send_modify(|notified| *notified = notified.wrapping_add(1));
        }
    }

    /// Notifies the subscriptions of all queues.
    pub(crate) fn notify_all(&self) {
        for queue in self.by_queue.keys() {
            self.notify(queue);
        }
    }

    /// Returns a receiver of every notification from now on; `None` when there is no such queue.
    pub(crate) fn listen(&self, queue: &str) -> Option<watch::Receiver<u64>> {
        Some(self.by_queue.get(queue)?.subscribe())
    }

    fn has_listeners(&self) -> bool {
        self.by_queue
            .values()
            .any(|notifier| notifier.receiver_count() > 0)
    }
}

/// Polls for writes of other processes while any subscription listens, until the driver is closed.
pub(crate) async fn poll_other_processes(
    notifiers: &Notifiers,
    options: &SqliteConnectOptions,
    every: Duration,
    stop: &CancellationToken,
) {
    let mut seen: Option<(SqliteConnection, i64)> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(every) => {}
        }
        if !notifiers.has_listeners() {
            continue;
        }
        seen = match poll(options, seen.take()).await {
            Ok((connection, version, changed)) => {
                if changed {
                    notifiers.notify_all();
                }
                Some((connection, version))
            }
            Err(error) => {
                // This is only logged at level `debug`, because subscriptions get the same error in
                // their own transactions and report it.
                tracing::debug!(%error, "the change counter of the SQLite file could not be read");
                None
            }
        };
    }
    if let Some((connection, _)) = seen {
        // SQLite deletes the write-ahead log when the last connection to the file closes. So the
        // driver must not end before this connection is closed.
        connect::close(connection).await;
    }
}

/// Reads SQLite's change counter once, and returns whether the file has changed since the last
/// call. The counter is only comparable within one connection, so a new connection counts as a
/// change.
async fn poll(
    options: &SqliteConnectOptions,
    seen: Option<(SqliteConnection, i64)>,
) -> sqlx::Result<(SqliteConnection, i64, bool)> {
    let (mut connection, before) = match seen {
        Some((connection, version)) => (connection, Some(version)),
        None => (options.connect().await?, None),
    };
    let version: i64 = sqlx::query_scalar("pragma data_version")
        .fetch_one(&mut connection)
        .await?;
    Ok((connection, version, before != Some(version)))
}
