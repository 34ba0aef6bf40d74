//! The savepoint of a transaction over several events. When the handler fails on some of these
//! events, all that it has written since the savepoint is undone, and the transaction keeps its
//! claims.

use hookbox_driver::{CommitError, Fault, FaultKind};
use sqlx::Executor;

use crate::server::query_error::QueryError;
use crate::tx::{TO_SAVEPOINT, Tx, ended};
use crate::{diagnose, proof};

/// The statement that sets the savepoint in a transaction that has none yet.
const SET: &str = "savepoint hookbox_unit";

/// The statements that move the savepoint to the current end of the transaction. They fail when a
/// handler has ended the transaction in which the savepoint was set.
const MOVE: &str = "release savepoint hookbox_unit; savepoint hookbox_unit";

/// See [`hookbox_driver::Store::savepoint`].
pub(crate) async fn set(tx: &mut Tx) -> Result<(), CommitError> {
    let statement = if tx.has_savepoint { MOVE } else { SET };
    let set = sqlx::raw_sql(statement);
    match tx.run(|c| c.execute(set)).await {
        Ok(_) => {
            tx.has_savepoint = true;
            Ok(())
        }
        Err(QueryError::Database(error)) if diagnose::has_no_savepoint(&error) => Err(ended()),
        Err(error) => Err(tx.attribute(error, "set a savepoint").await),
    }
}

/// See [`hookbox_driver::Store::undo`].
pub(crate) async fn undo(tx: &mut Tx) -> Result<(), CommitError> {
    let doing = "undo what a handler wrote";
    if tx.awaits_answer {
        // An earlier statement has no answer yet. Its answer would be taken for that of the next
        // statement, so no statement is sent.
        let fault = Fault::plain(FaultKind::Unavailable, doing);
        return Err(fault.into());
    }
    let back = sqlx::raw_sql(TO_SAVEPOINT);
    match tx.run(|c| c.execute(back)).await {
        Ok(_) => {}
        Err(QueryError::Database(error)) if diagnose::has_no_savepoint(&error) => {
            return Err(ended());
        }
        Err(error) => return Err(error.ours(doing).into()),
    }
    if tx.is_guarded() {
        // The rollback to the savepoint has also restored the settings of the session. But a
        // handler can leave other things in a session, which do not belong to the transaction and
        // must be removed.
        return proof::prove(tx).await;
    }
    if tx.depth() != 1 {
        let why = "the handler left a savepoint open".to_owned();
        return Err(CommitError::BrokenByHandler { why });
    }
    Ok(())
}
