//! The table `meta`: the environment that the database belongs to.

use sqlx::{Error, PgConnection};

const ENVIRONMENT: &str = "environment";

/// The stamp, if the table exists and there is one.
pub(crate) async fn environment(c: &mut PgConnection) -> Result<Option<String>, Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('meta') is not null")
        .fetch_one(&mut *c)
        .await?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar("select value from meta where key = $1")
        .bind(ENVIRONMENT)
        .fetch_optional(c)
        .await
}

/// Stamps the database, unless it has a stamp.
pub(crate) async fn stamp(c: &mut PgConnection, environment: &str) -> Result<(), Error> {
    sqlx::query("insert into meta (key, value) values ($1, $2) on conflict do nothing")
        .bind(ENVIRONMENT)
        .bind(environment)
        .execute(c)
        .await?;
    Ok(())
}
