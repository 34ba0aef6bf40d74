//! The table `meta`: the environment and the identity key to which the file belongs, a random mark
//! that identifies the file, which versions of hookbox may use it, and which receipts were dropped
//! from it.

use hookbox_event::EnvironmentName;
use sqlx::sqlite::SqliteConnection;

const ENVIRONMENT: &str = "environment";
/// The name under which the table holds the fingerprint of the identity key.
const IDENTITY: &str = "identity";
/// The name under which the table holds the oldest schema version that a hookbox must know to use
/// this file.
const WORKS_FROM: &str = "works_from";
const LAST_PROBE: &str = "last_probe";
/// The name under which the table holds the random mark that identifies the file. [`mark_birth`]
/// writes the mark once.
const BIRTH: &str = "birth";

/// The SQL expression for the number of the first event whose receipts are all stored. Receipts of
/// events with lower numbers may have been dropped because they were old. hookbox drops no receipts
/// today, so the number is 0.
///
/// Code that drops receipts must raise this number in the same transaction. Before it drops them,
/// it must store the orphaned events with lower numbers as dead letters, because afterwards nothing
/// shows that they are orphaned.
macro_rules! receipts_kept_from {
    () => {
        "(select coalesce(max(cast(value as integer)), 0) from meta
          where key = 'receipts_kept_from')"
    };
}

pub(crate) use receipts_kept_from;

/// Returns the environment with which the file is stamped; `None` when it has no stamp.
pub(crate) async fn environment(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select value from meta where key = ?1")
        .bind(ENVIRONMENT)
        .fetch_optional(connection)
        .await
}

/// Stamps the file with its environment, unless it has a stamp already.
pub(crate) async fn stamp(
    connection: &mut SqliteConnection,
    environment: &EnvironmentName,
) -> sqlx::Result<()> {
    sqlx::query("insert into meta (key, value) values (?1, ?2) on conflict do nothing")
        .bind(ENVIRONMENT)
        .bind(environment.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the fingerprint of the identity key with which the file is stamped; `None` when it has
/// no stamp.
pub(crate) async fn identity(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select value from meta where key = ?1")
        .bind(IDENTITY)
        .fetch_optional(connection)
        .await
}

/// Stamps the file with the fingerprint of an identity key, unless it has a stamp already.
pub(crate) async fn stamp_identity(
    connection: &mut SqliteConnection,
    fingerprint: &str,
) -> sqlx::Result<()> {
    sqlx::query("insert into meta (key, value) values (?1, ?2) on conflict do nothing")
        .bind(IDENTITY)
        .bind(fingerprint)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes a random mark into the file, unless it has one already. The mark shows later whether the
/// content of the file was replaced by that of another file.
pub(crate) async fn mark_birth(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(
        "insert into meta (key, value) values (?1, lower(hex(randomblob(16))))
         on conflict do nothing",
    )
    .bind(BIRTH)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the random mark of the file; `None` when the file was migrated only by versions of
/// hookbox that wrote no mark.
pub(crate) async fn birth(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select value from meta where key = ?1")
        .bind(BIRTH)
        .fetch_optional(connection)
        .await
}

/// Writes the present time as a small value, to find out whether the file can be written again.
pub(crate) async fn probe(connection: &mut SqliteConnection, now: i64) -> sqlx::Result<()> {
    sqlx::query(
        "insert into meta (key, value) values (?1, ?2)
         on conflict (key) do update set value = excluded.value",
    )
    .bind(LAST_PROBE)
    .bind(now.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the oldest schema version that a hookbox must know to use this file; `None` when the
/// file does not record it.
pub(crate) async fn works_from(connection: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
    let found: Option<String> = sqlx::query_scalar("select value from meta where key = ?1")
        .bind(WORKS_FROM)
        .fetch_optional(connection)
        .await?;
    Ok(found.and_then(|text| text.parse().ok()))
}

/// Records `version` as the oldest schema version that a hookbox must know to use the file, unless
/// a higher one is recorded.
pub(crate) async fn raise_works_from(
    connection: &mut SqliteConnection,
    version: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into meta (key, value) values (?1, ?2) on conflict (key) do update
         set value = max(cast(value as integer), cast(excluded.value as integer))",
    )
    .bind(WORKS_FROM)
    .bind(version.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
