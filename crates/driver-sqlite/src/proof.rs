//! Checks a transaction after a handler that is not hookbox's own has used it: it must be the
//! transaction that was opened, and the settings of its connection must be unchanged. The temporary
//! tables, views and triggers of the handler are dropped, so that the next handler of the same
//! transaction does not find them. Later transactions use another connection.
//!
//! A database file that a handler has attached stays attached until the transaction ends, because
//! SQLite cannot detach a file inside a transaction.

use hookbox_driver::CommitError;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::diagnose::fault;
use crate::tx::{Tx, attribute};

/// The settings that change the effect of hookbox's own statements, with the values that they must
/// have. The other settings that matter (`synchronous`, `foreign_keys`, `journal_mode`) are not
/// listed, because SQLite does not let them change within a transaction.
const WATCHED: [(&str, i64); 4] = [
    ("query_only", 0),
    ("ignore_check_constraints", 0),
    ("writable_schema", 0),
    ("recursive_triggers", 0),
];

/// The query that reads the current values of the settings in [`WATCHED`], in the same order.
const ASK: &str = "select (select query_only from pragma_query_only),
            (select ignore_check_constraints from pragma_ignore_check_constraints),
            (select writable_schema from pragma_writable_schema),
            (select recursive_triggers from pragma_recursive_triggers)";

/// The query for temporary objects, in the order in which they are dropped. Triggers come first,
/// because they vanish together with their tables.
const TEMPORARY: &str = "select type, name from temp.sqlite_schema
     where type in ('trigger', 'view', 'table') and name not like 'sqlite\\_%' escape '\\'
     order by type = 'table', type = 'view', name";

/// See [`hookbox_driver::Store::prove`].
pub(crate) async fn prove(tx: &mut Tx) -> Result<(), CommitError> {
    tx.check_whole().await?;
    let changed = changed(tx.unit.connection())
        .await
        .map_err(|error| attribute("check the connection after a handler", error))?;
    if !changed.is_empty() {
        return Err(CommitError::BrokenByHandler {
            why: format!(
                "the handler changed settings and did not change them back: {}",
                changed.join(", ")
            ),
        });
    }
    drop_temporary(tx.unit.connection())
        .await
        .map_err(fault("drop what a handler left on its connection"))?;
    Ok(())
}

async fn changed(connection: &mut SqliteConnection) -> sqlx::Result<Vec<&'static str>> {
    let row = sqlx::query(ASK).fetch_one(connection).await?;
    let mut changed = Vec::new();
    for (at, (name, wanted)) in WATCHED.into_iter().enumerate() {
        if row.try_get::<i64, _>(at)? != wanted {
            changed.push(name);
        }
    }
    Ok(changed)
}

async fn drop_temporary(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let found = sqlx::query(TEMPORARY).fetch_all(&mut *connection).await?;
    for row in found {
        let (kind, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let name = name.replace('"', "\"\"");
        let statement = AssertSqlSafe(format!("drop {kind} if exists temp.\"{name}\""));
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(())
}
