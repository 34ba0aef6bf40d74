//! The template: a migrated database on the test server. The databases of tests are copies of it.
//! Making a copy costs a third of the processor time that the migrations cost.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};

use sqlx::migrate::MigrateError;
use sqlx::{Connection, PgConnection};

use crate::migrate;

/// The statement that gives a copy an incarnation of its own. The migrations make a new random one
/// in each database, but a copy has that of the template.
pub(super) const BEGIN_ANEW: &str =
    "update incarnations set incarnation = gen_random_uuid(), began_at = now()";

/// The number of the advisory lock that a process holds while it makes the template: "template" in
/// ASCII.
const LOCK: i64 = 0x7465_6d70_6c61_7465;

/// The SQLSTATE of a statement that names a database which does not exist.
const NO_SUCH_DATABASE: &str = "3D000";

/// Returns the name of the template of the newest schema. The name depends on the text of all
/// migrations, so that a template of another schema is never used.
pub(super) fn name() -> String {
    let mut hasher = DefaultHasher::new();
    for migration in migrate::known() {
        (migration.version, migration.sql).hash(&mut hasher);
    }
    format!("hookbox_template_{:016x}", hasher.finish())
}

/// Returns whether the creation of a copy failed because the template does not exist.
pub(super) fn is_missing(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref::<sqlx::Error>();
    let error = error.and_then(sqlx::Error::as_database_error);
    error.is_some_and(|error| error.code().as_deref() == Some(NO_SUCH_DATABASE))
}

/// Waits until no other process makes the template. The lock belongs to the session, so it is
/// released when the connection closes.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let lock = sqlx::query("select pg_advisory_lock($1)").bind(LOCK);
    lock.execute(connection).await?;
    Ok(())
}

/// Returns whether the server has the template.
pub(super) async fn exists(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name())
        .fetch_one(connection)
        .await
}

/// Applies all migrations without a stamp of an environment, so that each copy gets its own stamp.
pub(super) async fn fill(inside: &mut PgConnection) -> Result<(), MigrateError> {
    let mut tx = inside.begin().await?;
    migrate::apply(&mut tx, 0).await?;
    tx.commit().await?;
    Ok(())
}
