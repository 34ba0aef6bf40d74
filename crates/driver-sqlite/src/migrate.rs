//! Creates the schema or brings it up to date, in one transaction, by one process at a time.

use std::path::Path;

use hookbox_crash::crash_point;
use hookbox_driver::{KnownMigration, OpenError};
use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnection, SqliteJournalMode};

use crate::file::connect::{self, connect, for_reading, for_writing};
use crate::refused::by_sqlite;
use crate::{Options, THE_FILE, file, identity, in_the_way, meta};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// The oldest schema version that a hookbox must know to use a file with the newest schema. An
/// older hookbox cannot use it for these reasons. It does not know the state of a stale event
/// (migration 19). It writes no rows into `ends` (migration 18), so programs that read ends along
/// would miss events. It does not read the receipts that decide whether a claim is done (migration
/// 15). It looks up events by their ids, where the tables now have numbers (migrations 11 to 14). A
/// migration must raise this number if it removes something that older versions of hookbox use, or
/// if it needs rows or values that they do not write. The new number is the schema version of the
/// first hookbox that works after the migration; see `docs/UPGRADING.md`.
const WORKS_FROM: i64 = 19;

/// The schema versions before and after [`migrate`]; equal when there was nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema version before the migration; 0 for a new file.
    pub from: i64,
    /// The schema version after the migration.
    pub to: i64,
}

/// Creates the file if it is missing, brings its schema up to date, and stamps it with the
/// environment and the identity key if it has no stamp. The schema and the stamps are written
/// together or not at all, even when two processes do this at once. A file of another program is
/// not changed.
pub async fn migrate(options: Options) -> Result<Migrated, OpenError> {
    options.check()?;
    let path = &options.path;
    file::refuse_network(path)?;
    if file::look_up(path)?.is_some() {
        // The file is inspected first, because it may belong to another program. The journal mode
        // that is set below would already change that file.
        inspect(&options).await?;
    } else {
        file::create(path)?;
    }
    // The journal mode is stored in the file; every later connection uses it.
    let wal = for_writing(&options).journal_mode(SqliteJournalMode::Wal);
    let mut connection = connect(&wal, path).await?;
    let migrated = in_one_transaction(&mut connection, &options).await;
    connect::close(connection).await;
    migrated
}

async fn in_one_transaction(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<Migrated, OpenError> {
    let unusable = by_sqlite(&options.path);
    let mut tx = connection
        .begin_with("begin immediate")
        .await
        .map_err(&unusable)?;
    let migrated = planned(&mut tx, options).await?;
    crash_point!("migrate.before_migrations");
    if migrated.from > newest() {
        return Ok(migrated);
    }
    MIGRATIONS
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| refused(&options.path, error))?;
    crash_point!("migrate.after_migrations");
    meta::stamp(&mut tx, &options.environment)
        .await
        .map_err(&unusable)?;
    identity::stamp(&mut tx, options).await.map_err(&unusable)?;
    meta::mark_birth(&mut tx).await.map_err(&unusable)?;
    meta::raise_works_from(&mut tx, WORKS_FROM)
        .await
        .map_err(&unusable)?;
    crash_point!("migrate.after_stamp");
    tx.commit().await.map_err(&unusable)?;
    Ok(migrated)
}

/// Returns what [`migrate`] would do. It changes nothing, and refuses what [`migrate`] would
/// refuse.
pub async fn plan(options: Options) -> Result<Migrated, OpenError> {
    options.check()?;
    file::refuse_network(&options.path)?;
    if file::look_up(&options.path)?.is_none() {
        let to = newest();
        return Ok(Migrated { from: 0, to });
    }
    inspect(&options).await
}

/// Returns whether the file exists and contains nothing, neither of hookbox nor of another program.
/// A file is like this when the process that created it ended before the schema was committed.
pub async fn is_empty(options: &Options) -> Result<bool, OpenError> {
    let path = &options.path;
    if file::look_up(path)?.is_none() {
        return Ok(false);
    }
    let mut connection = connect(&for_reading(options), path).await?;
    let empty = sqlx::query_scalar("select not exists (select 1 from sqlite_schema)")
        .fetch_one(&mut connection)
        .await
        .map_err(by_sqlite(path));
    connect::close(connection).await;
    empty
}

/// Returns the migrations that this hookbox knows.
fn known() -> Vec<KnownMigration<'static>> {
    let known = MIGRATIONS.iter().map(|migration| KnownMigration {
        version: migration.version,
        description: &migration.description,
        sql: migration.sql.as_str(),
    });
    known.collect()
}

/// Returns the names of hookbox's own tables in a file, in lower case. All other tables are the
/// user's.
pub fn own_tables() -> Vec<String> {
    hookbox_driver::own_tables(&known())
}

/// Returns the newest schema version that this hookbox knows.
pub(crate) fn newest() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

/// Returns the schema version of the file, which is the number of its newest migration; 0 when none
/// has run. A file with another program's migrations is refused, because their numbers mean nothing
/// to hookbox.
pub(crate) async fn version(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<i64, OpenError> {
    let applied = in_the_way::migrations(connection, &options.path, &known()).await?;
    let versions = applied.iter().map(|row| row.version);
    Ok(versions.max().unwrap_or(0))
}

/// Returns an error when the file is stamped with another environment than the one in the options,
/// or with none.
pub(crate) async fn same_environment(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<(), OpenError> {
    let stamp = meta::environment(connection).await;
    let stamp = stamp.map_err(by_sqlite(&options.path))?;
    match stamp {
        Some(found) if found == options.environment.as_str() => Ok(()),
        found => Err(OpenError::Environment {
            what: THE_FILE,
            found: found.unwrap_or_default(),
            wanted: options.environment.to_string(),
        }),
    }
}

async fn inspect(options: &Options) -> Result<Migrated, OpenError> {
    let mut connection = connect(&for_reading(options), &options.path).await?;
    let planned = planned(&mut connection, options).await;
    connect::close(connection).await;
    planned
}

async fn planned(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<Migrated, OpenError> {
    let from = version(connection, options).await?;
    let to = newest().max(from);
    works_on_newer(connection, options, from).await?;
    if from > 0 {
        same_environment(connection, options).await?;
        identity::compare(connection, options).await?;
    }
    in_the_way::anything(connection, &options.path, &known()).await?;
    Ok(Migrated { from, to })
}

/// Returns an error when a newer hookbox has migrated the file to a schema with which this hookbox
/// cannot work. A newer but compatible schema is only logged.
pub(crate) async fn works_on_newer(
    connection: &mut SqliteConnection,
    options: &Options,
    found: i64,
) -> Result<(), OpenError> {
    let wanted = newest();
    if found <= wanted {
        return Ok(());
    }
    let works_from = meta::works_from(connection).await;
    match works_from.map_err(by_sqlite(&options.path))? {
        Some(from) if from <= wanted => {
            tracing::warn!(
                found,
                known = wanted,
                "database schema {found} is newer than this build ({wanted}) but compatible; \
                 upgrade this process"
            );
            Ok(())
        }
        Some(_) | None => Err(OpenError::SchemaNewer { found, wanted }),
    }
}

fn refused(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            by_sqlite(path)(error)
        }
        MigrateError::VersionMismatch(version) => OpenError::Unsafe {
            what: THE_FILE,
            why: format!(
                "migration {version} of the file is not the one that this hookbox knows under \
                 that number; the file was migrated by another build"
            ),
        },
        other => OpenError::Unavailable {
            what: THE_FILE,
            source: other.into(),
        },
    }
}

/// Runs the migrations up to this version that are missing, for tests of the migrations after it.
#[cfg(test)]
pub(crate) async fn migrate_to(connection: &mut SqliteConnection, version: i64) {
    let migrated = MIGRATIONS.run_direct(Some(version), connection, false);
    migrated.await.expect("the migrations must run");
}

/// Returns the schema of a fresh file after all migrations, as SQL; `schemas/sqlite.sql` is kept
/// equal to it.
#[cfg(any(test, feature = "testing"))]
pub async fn dump_schema() -> Result<String, OpenError> {
    let in_memory = sqlx::sqlite::SqliteConnectOptions::new().in_memory(true);
    let path = Path::new(":memory:");
    let mut connection = connect(&in_memory, path).await?;
    MIGRATIONS
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| refused(path, error))?;
    let statements: Vec<String> = sqlx::query_scalar(
        "select sql from sqlite_schema
         where sql is not null and name not like 'sqlite\\_%' escape '\\'
           and name not like '\\_sqlx\\_%' escape '\\'
         order by tbl_name, type desc, name",
    )
    .fetch_all(&mut connection)
    .await
    .map_err(by_sqlite(path))?;
    connect::close(connection).await;
    let mut dump = String::from("-- Written from the migrated schema; do not edit.\n");
    for statement in statements {
        dump.push('\n');
        dump.push_str(&statement);
        dump.push_str(";\n");
    }
    Ok(dump)
}
