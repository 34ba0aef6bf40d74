//! Prepares a database: runs the migrations in order, and stamps the environment and the identity
//! key.

use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{KnownMigration, OpenError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use crate::refused::{open_error, unavailable};
use crate::server::inspect::inspect_server;
use crate::server::properties::Server;
use crate::server::query_error::text;
use crate::server::refusal::{Names, Stage};
use crate::server::sequences;
use crate::server::session::served_by;
use crate::server::time_limit::{goodbye, within};
use crate::server::unlimited::Watch;
use crate::{Options, diagnose, ends, identity, in_the_way, meta};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The number of the advisory lock that only one migrating process holds at a time: "hookbox" in
/// ASCII.
const LOCK: i64 = 0x68_6f6f_6b62_6f78;

/// How often a migration that takes long is reported, with what it waits for.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// The statement that limits how long a migration waits for the lock of a table that others use.
/// While the migration waits, other sessions that want the table wait behind it, so the limit is
/// short.
const TABLE_LOCK_TIMEOUT: &str = "set lock_timeout = '30s'";

/// The oldest schema version that a hookbox must know to use a database with the newest schema. An
/// older hookbox cannot use it for these reasons. It does not know the state of a stale event
/// (migration 19). It writes no rows into `ends` (migration 18), so programs that read ends along
/// would miss events. It does not read the receipts that decide whether a claim is done (migration
/// 15). It looks up events by their ids, where the tables now have numbers (migrations 11 to 14). A
/// migration must raise this number if it removes something that older versions of hookbox use, or
/// if it needs rows or values that they do not write. The new number is the schema version of the
/// first hookbox that works after the migration; see `docs/UPGRADING.md`.
const WORKS_FROM: i64 = 19;

/// The schema versions before and after [`migrate`], or as [`plan`] predicts them. Version 0 is an
/// empty database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema version before the migration; 0 for an empty database.
    pub from: i64,
    /// The schema version after the migration.
    pub to: i64,
}

/// Brings the database to the newest schema, and stamps it with the environment and the identity
/// key if it has no stamp. It refuses a database of another environment or identity key before it
/// changes anything. It also refuses a database that a newer hookbox has migrated, unless that
/// schema is compatible with this hookbox, in which case there is nothing to do. When two processes
/// run it at once, the second waits for the first and finds nothing to do.
pub async fn migrate(options: Options) -> Result<Migrated, OpenError> {
    let server = inspect_server(&options).await?;
    server.check(false)?;
    with_connection(&options, &server, async |connection, names| {
        lock(connection).await?;
        let from = match inspect(connection, &options, names).await? {
            Ok(from) => from,
            Err(refused) => return Ok(Err(refused)),
        };
        sqlx::query(TABLE_LOCK_TIMEOUT)
            .execute(&mut *connection)
            .await?;
        crash_point!("migrate.before_migrations");
        if from > newest() {
            return Ok(Ok(Migrated { from, to: from }));
        }
        if meta::environment(connection).await?.is_some() {
            // A migration may remove what older processes still rely on. Before that, the oldest
            // version that may still use the database is recorded, so that older processes are
            // refused from then on.
            meta::raise_works_from(connection, WORKS_FROM).await?;
        }
        if from > 0 {
            return finish(connection, from, &options).await;
        }
        // On a new database all migrations are one transaction, so that it gets all of them or
        // none.
        let mut tx = connection.begin().await?;
        let migrated = finish(&mut tx, from, &options).await?;
        match migrated {
            Ok(_) => tx.commit().await?,
            Err(_) => tx.rollback().await?,
        }
        Ok(migrated)
    })
    .await
}

/// Waits until no other process migrates. The lock belongs to the session, so it is released when
/// the connection closes, however [`migrate`] ends.
async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let is_locked: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *connection)
        .await?;
    if is_locked {
        return Ok(());
    }
    tracing::info!("another `hookbox migrate` is at work on this database; waiting for its end");
    sqlx::query("select pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// Runs the missing migrations, and stamps the database with its environment and identity key.
async fn finish(
    connection: &mut PgConnection,
    from: i64,
    options: &Options,
) -> Result<Result<Migrated, OpenError>, sqlx::Error> {
    if let Err(error) = apply(connection, from).await {
        return refused(error);
    }
    crash_point!("migrate.after_migrations");
    let renumbered = ends::renumber(connection).await?;
    if renumbered > 0 {
        tracing::info!(
            renumbered,
            "the database was moved from another server: {renumbered} ends have numbers of this \
             server now, and cursors from before the move are refused"
        );
    }
    sequences::raise(connection).await?;
    meta::stamp(connection, options.environment.as_str()).await?;
    identity::stamp(connection, options).await?;
    meta::raise_works_from(connection, WORKS_FROM).await?;
    crash_point!("migrate.after_stamp");
    Ok(Ok(Migrated { from, to: newest() }))
}

/// Runs the missing migrations. In a database that has some of them, each missing migration is
/// committed separately, so that after a failure the next run continues behind the last one that
/// succeeded.
pub(crate) async fn apply(connection: &mut PgConnection, from: i64) -> Result<(), MigrateError> {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    let mut missing: Vec<i64> = versions.filter(|version| *version > from).collect();
    missing.sort_unstable();
    for version in missing {
        MIGRATIONS.run_to(version, &mut *connection).await?;
        if from > 0 {
            let newest = newest();
            tracing::info!(version, newest, "migration {version} of {newest} has run");
        }
        crash_point!("postgres.between_migrations");
    }
    // All migrations have run, so this call runs none. It is made because it compares the
    // migrations recorded in the database with those of hookbox.
    MIGRATIONS.run(connection).await
}

/// Returns what [`migrate`] would do. It changes nothing, and refuses what [`migrate`] would
/// refuse.
pub async fn plan(options: Options) -> Result<Migrated, OpenError> {
    let server = inspect_server(&options).await?;
    server.check(false)?;
    with_connection(&options, &server, async |connection, names| {
        let inspected = inspect(connection, &options, names).await?;
        Ok(inspected.map(|from| Migrated {
            from,
            to: newest().max(from),
        }))
    })
    .await
}

/// Returns all migrations of this hookbox.
pub(crate) fn known() -> Vec<KnownMigration<'static>> {
    let known = MIGRATIONS.iter().map(|migration| KnownMigration {
        version: migration.version,
        description: &migration.description,
        sql: migration.sql.as_str(),
    });
    known.collect()
}

/// Returns the newest schema version that this hookbox knows.
pub(crate) fn newest() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

/// Returns the schema version of a database, which is the number of its newest migration; 0 when
/// none has run.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success")
        .fetch_one(connection)
        .await
}

/// Refuses a database that is stamped with another environment.
pub(crate) fn same_environment(stamp: Option<&str>, options: &Options) -> Result<(), OpenError> {
    match stamp {
        Some(found) if found != options.environment.as_str() => Err(OpenError::Environment {
            what: "the database",
            found: found.to_owned(),
            wanted: options.environment.to_string(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Returns the error for a database whose schema is newer than this hookbox.
pub(crate) fn newer(found: i64) -> OpenError {
    OpenError::SchemaNewer {
        found,
        wanted: newest(),
    }
}

async fn inspect(
    connection: &mut PgConnection,
    options: &Options,
    names: &Names,
) -> Result<Result<i64, OpenError>, sqlx::Error> {
    if let Some(refused) = in_the_way::no_usage(connection, names).await? {
        return Ok(Err(refused));
    }
    if let Some(refused) = in_the_way::anything(connection, &known()).await? {
        return Ok(Err(refused));
    }
    let stamp = meta::environment(connection).await?;
    let from = version(connection).await?;
    let works = from <= newest() || works_on_newer(connection).await?;
    let identity = identity::compare(connection, options).await?;
    let inspected = same_environment(stamp.as_deref(), options)
        .and_then(|()| if works { Ok(from) } else { Err(newer(from)) })
        .and_then(|from| identity.map(|_| from));
    // The remedies of the other checks change the database, so these checks run only on the
    // database that the operator means.
    if inspected.is_err() || from >= newest() {
        return Ok(inspected);
    }
    let refused = may_not_migrate(connection, names).await?;
    Ok(refused.map_or(inspected, Err))
}

/// Returns the error for a database on which a pending migration would fail, or would take rights
/// from the owner of the tables.
async fn may_not_migrate(
    connection: &mut PgConnection,
    names: &Names,
) -> Result<Option<OpenError>, sqlx::Error> {
    let known = known();
    if let Some(refused) = in_the_way::other_owner(connection, &known, names).await? {
        return Ok(Some(refused));
    }
    if let Some(refused) = in_the_way::no_create(connection, names).await? {
        return Ok(Some(refused));
    }
    in_the_way::of_user(connection, &known).await
}

/// Returns whether this hookbox can use a database that a newer hookbox has migrated.
pub(crate) async fn works_on_newer(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let from = meta::works_from(connection).await?;
    Ok(from.is_some_and(|from| from <= newest()))
}

/// Converts the error of a failed migration. Each migration is one transaction, so the failed one
/// has changed nothing.
fn refused(error: MigrateError) -> Result<Result<Migrated, OpenError>, sqlx::Error> {
    let why = match error {
        MigrateError::Execute(error) => return Err(error),
        // A missing right has a remedy of its own, which the caller adds.
        MigrateError::ExecuteMigration(error, _) if diagnose::is_forbidden(&error) => {
            return Err(error);
        }
        MigrateError::ExecuteMigration(error, version) => {
            let error = text(&error);
            format!("migration {version} failed and was rolled back: {error}")
        }
        MigrateError::VersionMissing(version) => format!(
            "hookbox does not know the database's migration {version}; does the database belong to \
             another program?"
        ),
        MigrateError::VersionMismatch(version) => format!(
            "the database's migration {version} is not the one that hookbox knows; does the \
             database belong to another program?"
        ),
        // `MigrateError` is `#[non_exhaustive]`, so its other variants show their own text.
        error => error.to_string(),
    };
    Ok(Err(OpenError::Unsafe {
        what: "the database",
        why,
    }))
}

/// Runs `work` on a connection of its own. Only connecting has a time limit.
async fn with_connection<T>(
    options: &Options,
    server: &Server,
    work: impl AsyncFnOnce(&mut PgConnection, &Names) -> Result<Result<T, OpenError>, sqlx::Error>,
) -> Result<T, OpenError> {
    let session = options.session_to_migrate(server)?;
    let limit = options.connect_deadline;
    let mut connection = session.connect(limit).await.map_err(unavailable)?;
    let names = session.names();
    let watch = Watch {
        session: &session,
        limit,
        interval: REPORT_INTERVAL,
    };
    let process = within(limit, served_by(&mut connection)).await;
    let worked = match process {
        Ok(process) => watch.over(process, work(&mut connection, names)).await,
        Err(error) => Err(error),
    };
    goodbye(connection).await;
    worked.map_err(|error| open_error(error, Stage::Migrate, names))?
}
