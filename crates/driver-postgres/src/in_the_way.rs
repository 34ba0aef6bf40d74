//! Checks, before anything is changed, whether hookbox's schema can be created in a database:
//! whether objects of another program have the names of hookbox's objects, and whether the role may
//! create tables.

use hookbox_driver::{AppliedMigration, KnownMigration, OpenError, foreign_schema};
use sqlx::{Error, PgConnection, Row};

use crate::refused::refused;
use crate::server::refusal::{self, Names, Refusal};

/// Returns an error when the database contains objects of another program with the names of
/// hookbox's tables, or another program's migrations.
pub(crate) async fn anything(
    c: &mut PgConnection,
    known: &[KnownMigration<'_>],
) -> Result<Option<OpenError>, Error> {
    let applied = applied(c).await?;
    let present: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = to_regnamespace(quote_ident(current_schema()))
           and relkind in ('r', 'p', 'v', 'm', 'f', 'i', 'I', 'S')",
    )
    .fetch_all(c)
    .await?;
    Ok(refuse(known, &applied, &present))
}

/// Returns an error when another program recorded its migrations in `_sqlx_migrations`, where
/// hookbox records its own.
pub(crate) async fn migrations(
    c: &mut PgConnection,
    known: &[KnownMigration<'_>],
) -> Result<Option<OpenError>, Error> {
    let applied = applied(c).await?;
    Ok(refuse(known, &applied, &[]))
}

fn refuse(
    known: &[KnownMigration<'_>],
    applied: &[AppliedMigration],
    present: &[String],
) -> Option<OpenError> {
    foreign_schema(known, applied, present).map(|foreign| {
        let refusal = Refusal {
            why: foreign.to_string(),
            remedy: "give hookbox a database of its own, or a schema of its own as the first of \
                     its role's search_path"
                .to_owned(),
        };
        refused(refusal, None)
    })
}

/// Returns the migrations that have run on the database; none when the table `_sqlx_migrations`
/// does not exist.
async fn applied(c: &mut PgConnection) -> Result<Vec<AppliedMigration>, Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *c)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select version, description from _sqlx_migrations where success order by version",
    )
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AppliedMigration {
                version: row.try_get(0)?,
                description: row.try_get(1)?,
            })
        })
        .collect()
}

/// Returns an error when the role may not create tables in the current schema.
pub(crate) async fn no_create(
    c: &mut PgConnection,
    names: &Names,
) -> Result<Option<OpenError>, Error> {
    let row = sqlx::query(
        "select current_schema()::text,
                coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)",
    )
    .fetch_one(c)
    .await?;
    let schema: Option<String> = row.try_get(0)?;
    let may: bool = row.try_get(1)?;
    let refusal = (!may).then(|| refusal::no_create(schema.as_deref(), names));
    Ok(refusal.map(|refusal| refused(refusal, None)))
}
