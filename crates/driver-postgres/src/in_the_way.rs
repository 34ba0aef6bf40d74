//! Checks, before anything is changed, whether hookbox's schema can be created in a database or
//! brought up to date there: whether objects of another program have the names of hookbox's
//! objects, whether objects of a user depend on tables that a migration must replace, whether the
//! role owns hookbox's tables, and whether it may use the schema and create tables in it.

use hookbox_driver::{
    AppliedMigration, KnownMigration, OpenError, foreign_schema, own_tables, replaced, storable,
};
use sqlx::{Error, PgConnection, Row};

use crate::refused::refused;
use crate::server::refusal::{self, Names, Refusal};
use crate::server::search_path;

/// The query for the objects of a user that are in the way of a migration: those that depend on a
/// table that the migration drops or on a column that it drops, and the triggers of such a table.
/// PostgreSQL would refuse to drop the table because of the former, and would drop the latter
/// together with the table. The names of the dropped tables are `$1`. The only dropped column is
/// `dead_letters.event_id`, in migration 13.
///
/// An object that belongs to a dropped table, such as its index or its check, has an automatic
/// dependency on the table, and is dropped together with it. Any other object has only normal ones
/// (`n`). A view depends on its tables by the rule that holds its query.
const OF_USER: &str = "
    with dropped_tables as (
        select c.oid as id, c.reltype as row_type, t.typarray as array_type
        from unnest($1::text[]) as given (name)
        join pg_class c on c.oid = to_regclass(given.name) and c.relkind in ('r', 'p')
        join pg_type t on t.oid = c.reltype
    ), dropped_columns as (
        select attrelid as id, attnum::integer as number from pg_attribute
        where attrelid = to_regclass('dead_letters') and attname = 'event_id'
          and not attisdropped
    ), dropped as (
        select 'pg_class'::regclass::oid as class, id, null::integer as number
        from dropped_tables
        union all
        select 'pg_type'::regclass::oid, unnest(array[row_type, array_type]), null::integer
        from dropped_tables
        union all
        select 'pg_class'::regclass::oid, id, number from dropped_columns
    ), dependent as (
        select d.classid as class, d.objid as id, d.objsubid as number
        from pg_depend d
        join dropped on dropped.class = d.refclassid and dropped.id = d.refobjid
                    and (dropped.number is null or dropped.number = d.refobjsubid)
        group by d.classid, d.objid, d.objsubid
        having bool_and(d.deptype = 'n')
    ), of_user as (
        select case when views.oid is null then class else 'pg_class'::regclass::oid end as class,
               coalesce(views.ev_class, id) as id, number
        from dependent
        left join pg_rewrite views on class = 'pg_rewrite'::regclass::oid
                                  and views.oid = id and views.rulename = '_RETURN'
        union
        select 'pg_trigger'::regclass::oid, oid, 0 from pg_trigger
        where not tgisinternal
          and (tgrelid in (select id from dropped_tables)
               or tgrelid in (select id from dropped_columns))
    )
    select distinct found.type || ' ' || found.identity
    from of_user, pg_identify_object(class, id, number) as found
    where found.identity is not null
    order by 1";

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

/// Returns an error when objects of a user are in the way of the pending migrations. Each migration
/// is committed separately, so without this check the first ones would be committed, and a later
/// one would fail.
pub(crate) async fn of_user(
    c: &mut PgConnection,
    known: &[KnownMigration<'_>],
) -> Result<Option<OpenError>, Error> {
    let replaced = replaced(known, &applied(c).await?);
    let users: Vec<String> = sqlx::query_scalar(OF_USER)
        .bind(replaced)
        .fetch_all(c)
        .await?;
    if users.is_empty() {
        return Ok(None);
    }
    let users: Vec<_> = users.iter().map(|name| storable(name)).collect();
    let refusal = Refusal {
        why: format!(
            "objects that are not hookbox's depend on tables that the migration must replace: {}",
            users.join(", ")
        ),
        remedy: "drop these objects, migrate, and create them again for the new tables".to_owned(),
    };
    Ok(Some(refused(refusal, None)))
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

/// Returns an error when the role may not use a schema of its `search_path` that has hookbox's
/// tables or may have them. PostgreSQL skips such a schema, so without this check the database
/// would seem to be empty, or the tables would be created in the next schema.
pub(crate) async fn no_usage(
    c: &mut PgConnection,
    names: &Names,
) -> Result<Option<OpenError>, Error> {
    let schemas = search_path::without_usage(c).await?;
    let refusal = (!schemas.is_empty()).then(|| refusal::no_usage(&schemas, names));
    Ok(refusal.map(|refusal| refused(refusal, None)))
}

/// Returns an error when the role does not own all of hookbox's tables. A migration run by another
/// role, which a superuser may do, would make that role the owner of the new tables, and the owner
/// of the replaced ones would have no right on them.
pub(crate) async fn other_owner(
    c: &mut PgConnection,
    known: &[KnownMigration<'_>],
    names: &Names,
) -> Result<Option<OpenError>, Error> {
    let role: String = sqlx::query_scalar("select current_user::text")
        .fetch_one(&mut *c)
        .await?;
    let owners: Vec<(String, String)> = sqlx::query_as(
        "select given.name, pg_get_userbyid(c.relowner)::text
         from unnest($1::text[]) with ordinality as given (name, position)
         join pg_class c on c.oid = to_regclass(given.name)
         order by given.position",
    )
    .bind(own_tables(known))
    .fetch_all(c)
    .await?;
    let refusal = refusal::other_owner(&owners, &role, names);
    Ok(refusal.map(|refusal| refused(refusal, None)))
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
