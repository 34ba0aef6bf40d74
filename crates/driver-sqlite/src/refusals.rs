//! The table `refusals`: the newest refused requests, so that operators see who is turned away.

use hookbox_driver::{Refusal, storable};
use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// How many are kept: enough to see a pattern, too few to fill a disk by sending rubbish.
const KEPT: i64 = 10_000;

/// Keeps these and forgets the oldest.
pub(crate) async fn keep(
    connection: &mut SqliteConnection,
    refusals: &[Refusal],
) -> sqlx::Result<()> {
    for refusals in refusals.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "INSERT INTO refusals (request, source, reason, body_digest, body_bytes, peer, at) ",
        );
        insert.push_values(refusals, |mut row, refusal| {
            row.push_bind(&refusal.request.as_bytes()[..])
                .push_bind(storable(&refusal.source))
                .push_bind(storable(&refusal.reason))
                .push_bind(refusal.body_digest.as_deref())
                .push_bind(i64::try_from(refusal.body_bytes).unwrap_or(i64::MAX))
                .push_bind(storable(&refusal.peer))
                .push_bind(refusal.at.unix_micros());
        });
        insert.push(" ON CONFLICT DO NOTHING");
        insert.build().execute(&mut *connection).await?;
    }
    sqlx::query("DELETE FROM refusals WHERE number <= (SELECT max(number) FROM refusals) - ?1")
        .bind(KEPT)
        .execute(connection)
        .await?;
    Ok(())
}

/// The newest, newest first.
pub(crate) async fn newest(
    connection: &mut SqliteConnection,
    limit: u32,
) -> sqlx::Result<Vec<Refusal>> {
    let rows = sqlx::query(
        "SELECT request, source, reason, body_digest, body_bytes, peer, at
         FROM refusals ORDER BY number DESC LIMIT ?1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Refusal {
                request: row.receipt("request")?,
                source: row.text("source")?,
                reason: row.text("reason")?,
                body_digest: row.text_or_none("body_digest")?,
                body_bytes: row.count("body_bytes")?,
                peer: row.text("peer")?,
                at: row.moment("at")?,
            })
        })
        .collect()
}
