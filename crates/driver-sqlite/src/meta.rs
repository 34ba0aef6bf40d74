//! The table `meta`: which environment and installation the file belongs to.

use hookbox_event::EnvironmentName;
use sqlx::sqlite::SqliteConnection;

const ENVIRONMENT: &str = "environment";
/// The schema version that a hookbox must know, at least, to work on this file.
const WORKS_FROM: &str = "works_from";
const LAST_PROBE: &str = "last_probe";
/// A random mark that identifies the file.
const BIRTH: &str = "birth";

/// The environment that the file is stamped with.
pub(crate) async fn environment(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = ?1")
        .bind(ENVIRONMENT)
        .fetch_optional(connection)
        .await
}

/// Stamps the file, once and for all.
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

/// Marks the file, once and for all, so that another one in its place is not taken for it.
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

/// The file's mark; none where no hookbox that writes it has migrated the file.
pub(crate) async fn birth(connection: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = ?1")
        .bind(BIRTH)
        .fetch_optional(connection)
        .await
}

/// Writes something small that changes each time, to learn whether writing works again.
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

/// The schema version from which on a hookbox may work on this one, where one is written down.
pub(crate) async fn works_from(connection: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
    let found: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = ?1")
        .bind(WORKS_FROM)
        .fetch_optional(connection)
        .await?;
    Ok(found.and_then(|text| text.parse().ok()))
}

/// Records it; it is never lowered.
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
