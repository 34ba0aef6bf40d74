//! The savepoint of a transaction over several events. When the handler fails on some of these
//! events, all that it has written since the savepoint is undone, and the transaction keeps its
//! claims.

use hookbox_driver::CommitError;

use crate::proof;
use crate::tx::{Tx, attribute};

/// See [`hookbox_driver::Store::savepoint`].
pub(crate) async fn set(tx: &mut Tx) -> Result<(), CommitError> {
    tx.check_whole().await?;
    let set = tx.unit.set_savepoint().await;
    set.map_err(|error| attribute("set a savepoint", error))
}

/// See [`hookbox_driver::Store::undo`].
pub(crate) async fn undo(tx: &mut Tx) -> Result<(), CommitError> {
    let undone = tx.unit.undo().await;
    tx.check_whole().await?;
    undone.map_err(|error| attribute("undo what a handler wrote", error))?;
    if tx.is_guarded() {
        // A handler can make changes on its connection that do not belong to the transaction, so
        // the rollback to the savepoint has not undone them.
        return proof::prove(tx).await;
    }
    Ok(())
}
