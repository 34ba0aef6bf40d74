//! The table `earlier_deaths`. It has one row for each replay of a dead letter: the reason why the
//! route had given up on the event before that replay.

use hookbox_driver::{DeadReason, EarlierDeath};
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, text};

/// Copies the present reasons of dead letters into the table. It is called when the dead letters
/// are replayed, because a later failure overwrites the reason.
pub(crate) async fn insert(c: &mut PgConnection, ids: &[i64], by: &str) -> Result<(), Error> {
    sqlx::query(
        "insert into earlier_deaths (dead_letter, died_at, reason, detail, attempts, replayed_by)
         select id, died_at, reason, detail, attempts, $2 from dead_letters
         where id = any ($1) order by id
         on conflict do nothing",
    )
    .bind(ids)
    .bind(text(by))
    .execute(c)
    .await?;
    Ok(())
}

/// Returns, for each replay of one dead letter, why the route had given up on the event before that
/// replay; the oldest comes first.
pub(crate) async fn of(c: &mut PgConnection, id: i64) -> Result<Vec<EarlierDeath>, Error> {
    let rows = sqlx::query(
        "select died_at, reason, detail, attempts, replayed_at, replayed_by
         from earlier_deaths where dead_letter = $1 order by died_at",
    )
    .bind(id)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(EarlierDeath {
                died_at: row.moment("died_at")?,
                reason: row.known("reason", DeadReason::parse)?,
                detail: row.try_get("detail")?,
                attempts: row.attempt("attempts")?,
                replayed_at: row.moment("replayed_at")?,
                replayed_by: row.try_get("replayed_by")?,
            })
        })
        .collect()
}
