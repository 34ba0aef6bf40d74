//! The table `earlier_deaths`. It has one row for each replay of a dead letter: the reason why the
//! route had given up on the event before that replay.

use hookbox_driver::{EarlierDeath, storable};
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// Copies the present reason of a dead letter into the table. It is called when the dead letter is
/// replayed, because a later failure overwrites the reason.
pub(crate) async fn keep(
    connection: &mut SqliteConnection,
    id: i64,
    by: &str,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO earlier_deaths
         (dead_letter, died_at, reason, detail, attempts, replayed_at, replayed_by)
         SELECT id, died_at, reason, detail, attempts, ?2, ?3 FROM dead_letters WHERE id = ?1
         ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(now)
    .bind(storable(by))
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns why the route had given up on the event of one dead letter before each replay, oldest
/// first.
pub(crate) async fn of(
    connection: &mut SqliteConnection,
    id: i64,
) -> sqlx::Result<Vec<EarlierDeath>> {
    let rows = sqlx::query(
        "SELECT died_at, reason, detail, attempts, replayed_at, replayed_by
         FROM earlier_deaths WHERE dead_letter = ?1 ORDER BY died_at",
    )
    .bind(id)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(EarlierDeath {
                died_at: row.moment("died_at")?,
                reason: row.dead_reason("reason")?,
                detail: row.text("detail")?,
                attempts: row.small("attempts")?,
                replayed_at: row.moment("replayed_at")?,
                replayed_by: row.text("replayed_by")?,
            })
        })
        .collect()
}
