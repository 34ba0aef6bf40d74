//! The table `meta`: the environment and the identity key to which the database belongs, which
//! versions of hookbox may use it, and which receipts were dropped from it.

use sqlx::{Error, PgConnection};

const ENVIRONMENT: &str = "environment";

/// The name under which the table holds the fingerprint of the identity key.
const IDENTITY: &str = "identity";

/// The name under which the table holds the oldest schema version that a hookbox must know to use
/// this database.
const WORKS_FROM: &str = "works_from";

/// The SQL expression for the number of the first event whose receipts are all stored. Receipts of
/// events with lower numbers may have been dropped because they were old. hookbox drops no receipts
/// today, so the number is 0.
///
/// Code that drops receipts must raise this number in the same transaction. Before it drops them,
/// it must store the orphaned events with lower numbers as dead letters, because afterwards nothing
/// shows that they are orphaned.
macro_rules! receipts_kept_from {
    () => {
        "(select coalesce(max(value::bigint), 0) from meta where key = 'receipts_kept_from')"
    };
}

pub(crate) use receipts_kept_from;

/// Returns the environment with which the database is stamped; `None` when there is no table or no
/// stamp.
pub(crate) async fn environment(c: &mut PgConnection) -> Result<Option<String>, Error> {
    value(c, ENVIRONMENT).await
}

/// Returns the value that the table holds under a name; `None` when the table or the value does not
/// exist.
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

/// Stamps the database with its environment, unless it has a stamp already.
pub(crate) async fn stamp(c: &mut PgConnection, environment: &str) -> Result<(), Error> {
    sqlx::query("insert into meta (key, value) values ($1, $2) on conflict do nothing")
        .bind(ENVIRONMENT)
        .bind(environment)
        .execute(c)
        .await?;
    Ok(())
}

/// Returns the fingerprint of the identity key with which the database is stamped; `None` when
/// there is no table or no stamp.
pub(crate) async fn identity(c: &mut PgConnection) -> Result<Option<String>, Error> {
    value(c, IDENTITY).await
}

/// Stamps the database with the fingerprint of an identity key, unless it has a stamp already, or
/// events.
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

/// Returns the oldest schema version that a hookbox must know to use this database; `None` when the
/// database does not record it.
pub(crate) async fn works_from(c: &mut PgConnection) -> Result<Option<i64>, Error> {
    let found = value(c, WORKS_FROM).await?;
    Ok(found.and_then(|text| text.parse().ok()))
}

/// Records `version` as the oldest schema version that a hookbox must know to use the database,
/// unless a higher one is recorded.
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
