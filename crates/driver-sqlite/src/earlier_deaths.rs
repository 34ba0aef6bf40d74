//! The table `earlier_deaths`. It has one row for each replay of a dead letter: the reason why the
//! route had given up on the event before that replay.

use hookbox_driver::{EarlierDeath, storable};
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, number_list};

/// Copies the present reasons of dead letters into the table. It is called when the dead letters
/// are replayed, because a later failure overwrites the reason.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    ids: &[i64],
    by: &str,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into earlier_deaths
         (dead_letter, died_at, reason, detail, attempts, replayed_at, replayed_by)
         select id, died_at, reason, detail, attempts, ?2, ?3 from dead_letters
         where id in (select value from json_each(?1))
         on conflict do nothing",
    )
    .bind(number_list(ids.iter().copied()))
    .bind(now)
    .bind(storable(by))
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns, for each replay of one dead letter, why the route had given up on the event before that
/// replay; the oldest comes first.
pub(crate) async fn of(
    connection: &mut SqliteConnection,
    id: i64,
) -> sqlx::Result<Vec<EarlierDeath>> {
    let rows = sqlx::query(
        "select died_at, reason, detail, attempts, replayed_at, replayed_by
         from earlier_deaths where dead_letter = ?1 order by died_at",
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
                attempts: row.attempt("attempts")?,
                replayed_at: row.moment("replayed_at")?,
                replayed_by: row.text("replayed_by")?,
            })
        })
        .collect()
}
