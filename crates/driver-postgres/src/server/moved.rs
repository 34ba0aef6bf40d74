//! Finds out whether the database was moved from another server, and not migrated since. The table
//! `ends` is ordered by the numbers that a server gives its transactions. After a dump or logical
//! replication, new rows would be ordered before rows that readers have already read.

use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use sqlx::PgConnection;

use crate::ends;
use crate::server::query_error::QueryError;
use crate::server::refusal::Refusal;
use crate::server::time_limit::within;

/// Returns a fault when a new connection leads to a server that the database was moved to. A
/// process that ran before the move would otherwise write rows there, after its connections were
/// replaced.
///
/// An error of the server is not returned. If it lasts, the statements of the transaction meet it,
/// and their callers know what it means.
pub(crate) async fn check(c: &mut PgConnection, limit: Duration) -> Result<(), Fault> {
    match within(limit, ends::are_of_another_server(c)).await {
        Ok(false) | Err(QueryError::Database(_) | QueryError::Refused { .. }) => Ok(()),
        Ok(true) => {
            let doing = format!("use the database: {}", refusal());
            Err(Fault::plain(FaultKind::Unavailable, doing))
        }
        Err(error @ QueryError::Unresponsive { .. }) => {
            Err(error.ours("check whether the database was moved"))
        }
    }
}

/// Returns the refusal for a database that was moved and not migrated since.
pub(crate) fn refusal() -> Refusal {
    Refusal {
        why:
            "the table `ends` has numbers of transactions that this server has not given yet: the \
              database was moved from another server by a dump or by logical replication"
                .to_owned(),
        remedy: "run `hookbox migrate`, which gives these rows numbers of this server".to_owned(),
    }
}
