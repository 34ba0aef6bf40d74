//! Waits for work at the server that has no time limit, such as a migration: one of its steps may
//! take hours on a large table. Whether the server is still at work, and what it waits for, is read
//! on another connection and logged.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::{Duration, Instant};

use hookbox_driver::{Fault, describe};

use crate::server::query_error::QueryError;
use crate::server::session::Session;
use crate::server::time_limit::{goodbye, within};

/// How the session that works is watched.
pub(crate) struct Watch<'s> {
    /// How to open another connection.
    pub session: &'s Session,
    /// The time limit for opening another connection, and for its query.
    pub limit: Duration,
    /// How often to look at the session.
    pub interval: Duration,
}

impl Watch<'_> {
    /// Waits until `work` has ended, which is done by the server process `process`. If that process
    /// no longer exists and has left no answer, the connection to it was lost, and the result is an
    /// error.
    pub async fn over<T>(
        &self,
        process: i32,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, QueryError> {
        let mut work = pin!(work);
        let began = Instant::now();
        loop {
            if let Ok(done) = tokio::time::timeout(self.interval, work.as_mut()).await {
                return done.map_err(QueryError::Database);
            }
            let seconds = began.elapsed().as_secs();
            match self.look(process).await {
                Ok(Some(blocking)) if blocking.is_empty() => tracing::info!(
                    seconds,
                    "the server has been at work on the migration for {seconds} s"
                ),
                Ok(Some(blocking)) => tracing::warn!(
                    seconds,
                    "the migration waits for locks of the server processes {blocking:?}, which \
                     pg_stat_activity shows; {seconds} s have passed since it began"
                ),
                Ok(None) => {
                    // The process may have ended the work, and then itself, during the look.
                    let done = tokio::time::timeout(self.interval, work.as_mut()).await;
                    let done = done.unwrap_or_else(|_elapsed| Err(lost()));
                    return done.map_err(QueryError::Database);
                }
                Err(fault) => tracing::warn!(
                    error = describe(&fault),
                    seconds,
                    "whether the server is still at work on the migration is not known; the \
                     migration is still awaited"
                ),
            }
        }
    }

    /// Returns the server processes whose locks `process` waits for; `None` when `process` does not
    /// exist.
    async fn look(&self, process: i32) -> Result<Option<Vec<i32>>, Fault> {
        let mut connection = self.session.connect(self.limit).await?;
        let query = "select pg_blocking_pids(pid) from pg_stat_activity where pid = $1";
        let blocking = sqlx::query_scalar(query)
            .bind(process)
            .fetch_optional(&mut connection);
        let blocking = within(self.limit, blocking).await;
        goodbye(connection).await;
        blocking.map_err(|error| error.ours("look at the session of the migration"))
    }
}

/// Returns the error for a connection whose server process has ended without an answer.
fn lost() -> sqlx::Error {
    let what = "the connection was lost, and the server has ended the session";
    sqlx::Error::Io(io::Error::new(ErrorKind::ConnectionAborted, what))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::server::session::served_by;
    use crate::testing::Database;

    /// A network may drop a connection that is silent for long, and notify neither side. The client
    /// then gets no answer, however long it waits.
    #[tokio::test]
    async fn work_whose_session_has_ended_is_not_awaited_any_longer() {
        let database = Database::create().await.unwrap();
        let options = database.options(&"test".parse().unwrap());
        let session = options.plain().unwrap();
        let limit = options.connect_deadline;
        let mut connection = session.connect(limit).await.unwrap();
        let process = served_by(&mut connection).await.unwrap();
        goodbye(connection).await;
        let watch = Watch {
            session: &session,
            limit,
            interval: Duration::from_millis(10),
        };
        let never = std::future::pending::<Result<(), sqlx::Error>>();
        let error = watch.over(process, never).await.unwrap_err();
        assert!(error.to_string().contains("was lost"), "{error}");
    }
}
