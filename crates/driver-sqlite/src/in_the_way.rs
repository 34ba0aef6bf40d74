//! Checks, before anything is changed, whether hookbox's schema can be created in a file: whether
//! objects of another program have the names of hookbox's objects.

use std::path::Path;

use hookbox_driver::{AppliedMigration, KnownMigration, OpenError, foreign_schema, replaced};
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
    refuse(path, known, &applied, &present)?;
    let replaced = replaced(known, &applied);
    if replaced.is_empty() {
        return Ok(());
    }
    let users = of_user(connection, &replaced)
        .await
        .map_err(by_sqlite(path))?;
    if users.is_empty() {
        return Ok(());
    }
    Err(refused(
        path,
        format!(
            "has objects that are not hookbox's on tables that the migration must replace: {users}"
        ),
        "drop these objects, migrate, and create them again for the new tables",
    ))
}

/// Returns the views, triggers and indexes on these tables, and the tables with a foreign key to
/// them. None of them is hookbox's own. SQLite would delete the triggers and indexes together with
/// the tables, and would keep the views and foreign keys, which would then fail.
async fn of_user(connection: &mut SqliteConnection, replaced: &[String]) -> sqlx::Result<String> {
    let objects: Vec<(String, String, String, String)> = sqlx::query_as(
        "select type, name, tbl_name, sql from sqlite_schema where sql is not null order by name",
    )
    .fetch_all(&mut *connection)
    .await?;
    let keys: Vec<(String, String)> = sqlx::query_as(
        "select distinct m.name, f.\"table\"
         from sqlite_schema as m, pragma_foreign_key_list(m.name) as f where m.type = 'table'",
    )
    .fetch_all(connection)
    .await?;
    let is_replaced = |name: &str| replaced.iter().any(|one| one.eq_ignore_ascii_case(name));
    let refers = |kind: &str, name: &str, table: &str, sql: &str| match kind {
        // SQLite does not report which tables a view reads, so each word of the view's definition
        // is compared with the names of the tables.
        "view" | "trigger" => {
            let mut words = sql.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(is_replaced)
        }
        "index" => is_replaced(table),
        _ => keys.iter().any(|(of, to)| of == name && is_replaced(to)),
    };
    let users = objects
        .iter()
        .filter(|(kind, name, table, sql)| !is_replaced(name) && refers(kind, name, table, sql));
    let users: Vec<String> = users
        .map(|(kind, name, ..)| format!("{kind} {name}"))
        .collect();
    Ok(users.join(", "))
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

/// Returns the migrations that have run on the file. sqlx recorded each one in the transaction that
/// ran it.
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
