//! The prepared statements of a session: those that a handler has prepared, and those of the
//! database driver (sqlx).

use sqlx::{AssertSqlSafe, Connection, Error, Executor, PgConnection, Row};

/// A subquery that finds the prepared statements of the session: the names of those that were
/// prepared with SQL, and the number of those that the database driver (sqlx) has prepared.
macro_rules! prepared_by_session {
    () => {
        "(select pg_catalog.array_agg(name) filter (where from_sql) as prepared,
                  pg_catalog.count(*) filter (where not from_sql) as cached
           from pg_catalog.pg_prepared_statements) as statements"
    };
}

pub(crate) use prepared_by_session;

/// The query of [`forget_all`].
const PREPARED: &str = concat!(
    "select statements.prepared, statements.cached from ",
    prepared_by_session!()
);

/// Removes the statements that a handler has prepared in a session, outside of a transaction.
pub async fn forget_all(c: &mut PgConnection) -> Result<(), Error> {
    let row = c.fetch_one(sqlx::raw_sql(PREPARED)).await?;
    let prepared: Option<Vec<String>> = row.try_get(0)?;
    let cached = row.try_get(1)?;
    forget(c, prepared.unwrap_or_default(), cached).await
}

/// Removes the statements that the handler has prepared. If the handler has removed any that the
/// driver (sqlx) had prepared, the driver's cache is cleared as well, because the driver would use
/// statements that the server no longer knows.
pub async fn forget(c: &mut PgConnection, prepared: Vec<String>, cached: i64) -> Result<(), Error> {
    for name in prepared {
        let name = name.replace('"', "\"\"");
        let deallocate = AssertSqlSafe(format!("deallocate \"{name}\""));
        c.execute(sqlx::raw_sql(deallocate)).await?;
    }
    if usize::try_from(cached).is_ok_and(|cached| cached < c.cached_statements_size()) {
        c.clear_cached_statements().await?;
    }
    Ok(())
}
