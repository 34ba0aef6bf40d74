//! The table `meta`: the environment and the installation to which the file belongs.

use hookbox_event::EnvironmentName;
use sqlx::sqlite::SqliteConnection;

const ENVIRONMENT: &str = "environment";
/// The key of the oldest schema version that a hookbox must know to work on this file.
const WORKS_FROM: &str = "works_from";
const LAST_PROBE: &str = "last_probe";
/// The key of a random mark that identifies the file.
const BIRTH: &str = "birth";

/// Returns the environment with which the file is stamped.
pub(crate) async fn environment(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = ?1")
        .bind(ENVIRONMENT)
        .fetch_optional(connection)
        .await
}

/// Stamps the file with its environment, unless it has a stamp.
pub(crate) async fn stamp(
    connection: &mut SqliteConnection,
    environment: &EnvironmentName,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
        .bind(ENVIRONMENT)
        .bind(environment.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives the file its mark, unless it has one, so that another file in its place is recognised.
pub(crate) async fn mark_birth(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES (?1, lower(hex(randomblob(16))))
         ON CONFLICT DO NOTHING",
    )
    .bind(BIRTH)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the file's mark; `None` for a file that only versions without marks have migrated.
pub(crate) async fn birth(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = ?1")
        .bind(BIRTH)
        .fetch_optional(connection)
        .await
}

/// Writes a small value that changes each time, to find out whether writing works again.
pub(crate) async fn probe(connection: &mut SqliteConnection, now: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(LAST_PROBE)
    .bind(now.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the oldest schema version that a hookbox must know to work here, if it is recorded.
pub(crate) async fn works_from(connection: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
    let found: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = ?1")
        .bind(WORKS_FROM)
        .fetch_optional(connection)
        .await?;
    Ok(found.and_then(|text| text.parse().ok()))
}

/// Records this version, unless a higher one is recorded.
pub(crate) async fn raise_works_from(
    connection: &mut SqliteConnection,
    version: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE
         SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
    )
    .bind(WORKS_FROM)
    .bind(version.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
