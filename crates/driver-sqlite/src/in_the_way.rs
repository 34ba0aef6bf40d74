//! Checks, before anything is changed, whether hookbox's schema can be created in a file: whether
//! objects of another program have the names of hookbox's objects.

use std::path::Path;

use hookbox_driver::{AppliedMigration, KnownMigration, OpenError, foreign_schema};
use sqlx::sqlite::SqliteConnection;

use crate::refused::{by_sqlite, refused};

/// Returns an error when the file contains objects of another program with the names of hookbox's
/// tables, or another program's migrations.
pub(crate) async fn anything(
    connection: &mut SqliteConnection,
    path: &Path,
    known: &[KnownMigration<'_>],
) -> Result<(), OpenError> {
    let present = names(connection).await.map_err(by_sqlite(path))?;
    let applied = applied(connection).await.map_err(by_sqlite(path))?;
    refuse(path, known, &applied, &present)
}

/// Returns the migrations that have run on the file, or an error when another program recorded its
/// own in `_sqlx_migrations`.
pub(crate) async fn migrations(
    connection: &mut SqliteConnection,
    path: &Path,
    known: &[KnownMigration<'_>],
) -> Result<Vec<AppliedMigration>, OpenError> {
    let applied = applied(connection).await.map_err(by_sqlite(path))?;
    refuse(path, known, &applied, &[])?;
    Ok(applied)
}

fn refuse(
    path: &Path,
    known: &[KnownMigration<'_>],
    applied: &[AppliedMigration],
    present: &[String],
) -> Result<(), OpenError> {
    match foreign_schema(known, applied, present) {
        None => Ok(()),
        Some(found) => Err(refused(
            path,
            format!("is not hookbox's: {found}"),
            "give hookbox a file of its own",
        )),
    }
}

/// Returns the migrations that have run on the file. sqlx recorded each in the transaction that ran
/// it.
async fn applied(connection: &mut SqliteConnection) -> sqlx::Result<Vec<AppliedMigration>> {
    let migrated: bool = sqlx::query_scalar(
        "select exists (select 1 from sqlite_schema where name = '_sqlx_migrations')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !migrated {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "select version, description from _sqlx_migrations where success order by version",
    )
    .fetch_all(connection)
    .await?;
    let row = |(version, description)| AppliedMigration {
        version,
        description,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Returns the names of all tables, views and indexes in the file, in lower case, because SQLite
/// ignores the case of names.
async fn names(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select lower(name) from sqlite_schema")
        .fetch_all(connection)
        .await
}
