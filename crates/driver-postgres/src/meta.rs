//! The table `meta`: the environment and the identity key to which the database belongs, and what
//! was dropped from it.

use sqlx::{Error, PgConnection};

const ENVIRONMENT: &str = "environment";

/// The key whose value is the fingerprint of the identity key.
const IDENTITY: &str = "identity";

/// The key whose value is the oldest compatible schema version: a hookbox that knows at least this
/// version works on this database.
const WORKS_FROM: &str = "works_from";

/// The number of the first event whose receipts are all stored, as an expression of a statement.
/// Receipts of events with lower numbers may have been dropped because they were old. Nothing is
/// dropped today, so the number is 0.
///
/// What drops receipts must raise the number in the same transaction. Before that, it must store
/// the orphans among those events as dead letters, because nothing else shows them.
macro_rules! receipts_kept_from {
    () => {
        "(select coalesce(max(value::bigint), 0) from meta where key = 'receipts_kept_from')"
    };
}

pub(crate) use receipts_kept_from;

/// Returns the environment with which the database is stamped; `None` without a table or a stamp.
pub(crate) async fn environment(c: &mut PgConnection) -> Result<Option<String>, Error> {
    value(c, ENVIRONMENT).await
}

/// Returns the value of a key; `None` when the table or the key does not exist.
async fn value(c: &mut PgConnection, key: &'static str) -> Result<Option<String>, Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('meta') is not null")
        .fetch_one(&mut *c)
        .await?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar("select value from meta where key = $1")
        .bind(key)
        .fetch_optional(c)
        .await
}

/// Stamps the database with its environment, unless it has a stamp.
pub(crate) async fn stamp(c: &mut PgConnection, environment: &str) -> Result<(), Error> {
    sqlx::query("insert into meta (key, value) values ($1, $2) on conflict do nothing")
        .bind(ENVIRONMENT)
        .bind(environment)
        .execute(c)
        .await?;
    Ok(())
}

/// Returns the fingerprint of the identity key with which the database is stamped; `None` without a
/// table or a stamp.
pub(crate) async fn identity(c: &mut PgConnection) -> Result<Option<String>, Error> {
    value(c, IDENTITY).await
}

/// Stamps the database with the fingerprint of an identity key, unless it has a stamp or events.
pub(crate) async fn stamp_identity(c: &mut PgConnection, fingerprint: &str) -> Result<(), Error> {
    sqlx::query(
        "insert into meta (key, value) select $1, $2 where not exists (select from events)
         on conflict do nothing",
    )
    .bind(IDENTITY)
    .bind(fingerprint)
    .execute(c)
    .await?;
    Ok(())
}

/// Returns the oldest schema version that a hookbox must know to work on this database; `None` when
/// the database does not record it.
pub(crate) async fn works_from(c: &mut PgConnection) -> Result<Option<i64>, Error> {
    let found = value(c, WORKS_FROM).await?;
    Ok(found.and_then(|text| text.parse().ok()))
}

/// Records this as the oldest schema version that a hookbox must know to use the database, unless a
/// higher one is recorded.
pub(crate) async fn raise_works_from(c: &mut PgConnection, version: i64) -> Result<(), Error> {
    sqlx::query(
        "insert into meta (key, value) values ($1, $2) on conflict (key) do update
         set value = greatest(meta.value::bigint, excluded.value::bigint)::text",
    )
    .bind(WORKS_FROM)
    .bind(version.to_string())
    .execute(c)
    .await?;
    Ok(())
}
