//! The time limits that hookbox sets for its connections, because sqlx has none of its own.

use std::future::Future;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::server::query_error::QueryError;

/// The time limit for closing a connection in an orderly way.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// Closes a connection. Returns whether the orderly close completed within [`GOODBYE_DEADLINE`]; if
/// not, the connection is dropped, which closes it as well.
pub(crate) async fn goodbye(connection: PgConnection) -> bool {
    let closed = tokio::time::timeout(GOODBYE_DEADLINE, connection.close()).await;
    closed.is_ok()
}

/// Waits for the database for at most `limit`, because sqlx has no time limits of its own (H10).
pub(crate) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, QueryError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(QueryError::Database(error)),
        Err(_elapsed) => Err(QueryError::Unresponsive { limit }),
    }
}
