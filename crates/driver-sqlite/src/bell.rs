//! Waking those who wait for messages: at once for what this process writes, and by a look at
//! SQLite's change counter for what other processes write.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connect;

/// One bell for each queue.
pub(crate) struct Bells {
    by_queue: HashMap<String, watch::Sender<u64>>,
}

impl Bells {
    pub(crate) fn new(queues: impl IntoIterator<Item = String>) -> Self {
        let by_queue = queues
            .into_iter()
            .map(|queue| (queue, watch::Sender::new(0)))
            .collect();
        Self { by_queue }
    }

    /// Something may be in this queue.
    pub(crate) fn ring(&self, queue: &str) {
        if let Some(bell) = self.by_queue.get(queue) {
            bell.send_modify(|rung| *rung = rung.wrapping_add(1));
        }
    }

    /// Something may be in any queue.
    pub(crate) fn ring_all(&self) {
        for queue in self.by_queue.keys() {
            self.ring(queue);
        }
    }

    /// Hears every ring from now on; `None` when there is no such queue.
    pub(crate) fn listen(&self, queue: &str) -> Option<watch::Receiver<u64>> {
        Some(self.by_queue.get(queue)?.subscribe())
    }

    fn is_heard(&self) -> bool {
        self.by_queue.values().any(|bell| bell.receiver_count() > 0)
    }
}

/// Looks for what other processes wrote, as long as somebody listens, until it is stopped.
pub(crate) async fn watch_others(
    bells: &Bells,
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
        if !bells.is_heard() {
            continue;
        }
        seen = match look(options, seen.take()).await {
            Ok((connection, version, changed)) => {
                if changed {
                    bells.ring_all();
                }
                Some((connection, version))
            }
            Err(error) => {
                // Subscriptions meet the same trouble in their own transactions and tell it.
                tracing::debug!(%error, "the SQLite file could not be looked at");
                None
            }
        };
    }
    if let Some((connection, _)) = seen {
        // Waited for: SQLite deletes the log only when nothing else has the file open.
        connect::close(connection).await;
    }
}

/// The counter only means something compared on one connection, so a new one counts as a change.
async fn look(
    options: &SqliteConnectOptions,
    seen: Option<(SqliteConnection, i64)>,
) -> sqlx::Result<(SqliteConnection, i64, bool)> {
    let (mut connection, before) = match seen {
        Some((connection, version)) => (connection, Some(version)),
        None => (options.connect().await?, None),
    };
    let version: i64 = sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(&mut connection)
        .await?;
    Ok((connection, version, before != Some(version)))
}
