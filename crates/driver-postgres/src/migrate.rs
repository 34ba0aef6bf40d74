//! Preparing a database: the schema, one migration after the other, and the environment's stamp.

use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{KnownMigration, OpenError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use crate::connection::{goodbye, text, within};
use crate::open::{inspect_server, open_error, unavailable};
use crate::refusal::{Names, Stage};
use crate::{Options, diagnose, in_the_way, meta};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The number of the advisory lock that one migrator holds at a time: "hookbox" in ASCII.
const LOCK: i64 = 0x68_6f6f_6b62_6f78;

/// How long everything may take: an index over a large table is built in minutes.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// How long a migration may wait for a table that others use. While it waits, they wait behind
/// it.
const TABLE_LOCK_TIMEOUT: &str = "set lock_timeout = '30s'";

/// A process that knows this schema version works on the newest one as well: every migration since
/// has only added. One that takes something away, or asks more of what is written, raises it to the
/// version whose hookbox does without. `docs/UPGRADING.md` is about it.
const WORKS_FROM: i64 = 2;

/// What a migration did, or would do: schema versions before and after. 0 is an empty database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Before.
    pub from: i64,
    /// After.
    pub to: i64,
}

/// Brings the database to the newest schema, and stamps it with the environment when it has no
/// stamp. A database of another environment is refused before anything is changed, and so is one
/// of a newer hookbox, unless its schema is compatible with this one: then there is nothing to do.
/// Of two at once, one waits for the other and finds nothing left to do.
pub async fn migrate(options: Options) -> Result<Migrated, OpenError> {
    inspect_server(&options).await?.check(false)?;
    with_connection(&options, async |connection, names| {
        // A session's lock: it is released with the connection, however this ends.
        sqlx::query("select pg_advisory_lock($1)")
            .bind(LOCK)
            .execute(&mut *connection)
            .await?;
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
            // Before anything is removed that other processes still rely on.
            meta::raise_works_from(connection, WORKS_FROM).await?;
        }
        if from > 0 {
            return finish(connection, from, &options).await;
        }
        // A new database gets all of it or nothing.
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

/// Makes what is missing, and stamps the database.
async fn finish(
    connection: &mut PgConnection,
    from: i64,
    options: &Options,
) -> Result<Result<Migrated, OpenError>, sqlx::Error> {
    if let Err(error) = apply(connection, from).await {
        return refused(error);
    }
    crash_point!("migrate.after_migrations");
    meta::stamp(connection, options.environment.as_str()).await?;
    meta::raise_works_from(connection, WORKS_FROM).await?;
    crash_point!("migrate.after_stamp");
    Ok(Ok(Migrated { from, to: newest() }))
}

/// In a database that has some of them, each migration is committed by itself: the next run
/// continues behind those it finds.
async fn apply(connection: &mut PgConnection, from: i64) -> Result<(), MigrateError> {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    let mut missing: Vec<i64> = versions.filter(|version| *version > from).collect();
    missing.sort_unstable();
    for version in missing {
        MIGRATIONS.run_to(version, &mut *connection).await?;
        crash_point!("postgres.between_migrations");
    }
    // Also that those which were there before are ours.
    MIGRATIONS.run(connection).await
}

/// What [`migrate`] would do. It changes nothing, and refuses what [`migrate`] would refuse.
pub async fn plan(options: Options) -> Result<Migrated, OpenError> {
    inspect_server(&options).await?.check(false)?;
    with_connection(&options, async |connection, names| {
        let inspected = inspect(connection, &options, names).await?;
        Ok(inspected.map(|from| Migrated {
            from,
            to: newest().max(from),
        }))
    })
    .await
}

/// All migrations of this hookbox.
pub(crate) fn known() -> impl Iterator<Item = KnownMigration<'static>> {
    MIGRATIONS.iter().map(|migration| KnownMigration {
        version: migration.version,
        description: &migration.description,
        sql: migration.sql.as_str(),
    })
}

/// The newest schema version that this hookbox knows.
pub(crate) fn newest() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

/// The schema version of a database, 0 when there is none.
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

/// The refusal of a schema that is newer than this hookbox.
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
    if let Some(refused) = in_the_way::anything(connection).await? {
        return Ok(Err(refused));
    }
    let stamp = meta::environment(connection).await?;
    let from = version(connection).await?;
    let known = from <= newest() || works_on_newer(connection).await?;
    if from < newest()
        && let Some(refused) = in_the_way::no_create(connection, names).await?
    {
        return Ok(Err(refused));
    }
    Ok(same_environment(stamp.as_deref(), options)
        .and_then(|()| if known { Ok(from) } else { Err(newer(from)) }))
}

/// Whether a database that a newer hookbox has migrated is compatible with this one.
pub(crate) async fn works_on_newer(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let from = meta::works_from(connection).await?;
    Ok(from.is_some_and(|from| from <= newest()))
}

/// A migration that did not go through. Each is a transaction, so it has changed nothing.
fn refused(error: MigrateError) -> Result<Result<Migrated, OpenError>, sqlx::Error> {
    let why = match error {
        MigrateError::Execute(error) => return Err(error),
        // A right that is missing has a remedy of its own.
        MigrateError::ExecuteMigration(error, _) if diagnose::is_forbidden(&error) => {
            return Err(error);
        }
        MigrateError::ExecuteMigration(error, version) => {
            let error = text(&error);
            format!("migration {version} failed and was rolled back: {error}")
        }
        MigrateError::VersionMissing(version) => format!(
            "it has a migration {version} that hookbox does not know; does the database belong \
             to another program?"
        ),
        MigrateError::VersionMismatch(version) => format!(
            "its migration {version} is not the one that hookbox knows; does the database belong \
             to another program?"
        ),
        // sqlx's list is open.
        error => error.to_string(),
    };
    Ok(Err(OpenError::Unsafe {
        what: "the database",
        why,
    }))
}

/// Work on a connection that has no time limits at the server but one for all at the client.
async fn with_connection<T>(
    options: &Options,
    work: impl AsyncFnOnce(&mut PgConnection, &Names) -> Result<Result<T, OpenError>, sqlx::Error>,
) -> Result<T, OpenError> {
    let settings = [
        ("synchronous_commit", "on"),
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        // `CREATE TABLE IF NOT EXISTS` sends a notice every time.
        ("client_min_messages", "warning"),
    ];
    let session = options
        .plain()?
        .with(&settings.map(|(name, value)| (name, value.to_owned())));
    let mut connection = session
        .connect(options.connect_deadline)
        .await
        .map_err(unavailable)?;
    let names = session.names();
    let worked = within(DEADLINE, work(&mut connection, names)).await;
    goodbye(connection).await;
    worked.map_err(|error| open_error(error, Stage::Migrate, names))?
}
