//! Finds ingests that have not reported their last sequence numbers, because they were killed, or
//! ended while no accept report could be published.

use std::time::Duration;

use hookbox_driver::Unvouched;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::Columns;
use crate::moment;

/// Returns the ingests that have not reported their last sequence numbers; see
/// [`hookbox_driver::Ledger::unvouched`]. The query finds the next instance by one step over an
/// index, so its cost depends on the number of instances and not on that of their receipts.
pub(crate) async fn read(
    c: &mut SqliteConnection,
    limit: u32,
    silent: Duration,
) -> sqlx::Result<Vec<Unvouched>> {
    let rows = sqlx::query(
        "WITH RECURSIVE known (instance) AS (
             SELECT (SELECT min(instance) FROM receipts)
             UNION ALL
             SELECT (SELECT min(r.instance) FROM receipts r WHERE r.instance > known.instance)
             FROM known WHERE known.instance IS NOT NULL
         ),
         ends AS (
             SELECT instance,
                    (SELECT coalesce(max(a.last), 0) FROM accounts a
                     WHERE a.instance = known.instance) AS reported,
                    (SELECT max(r.number) FROM receipts r
                     WHERE r.instance = known.instance) AS seen,
                    (SELECT coalesce(max(a.closing), 0) FROM accounts a
                     WHERE a.instance = known.instance) AS closing
             FROM known WHERE instance IS NOT NULL
         )
         SELECT instance, reported, seen,
                seen - reported - (SELECT count(DISTINCT r.number) FROM receipts r
                               WHERE r.instance = ends.instance AND r.number > reported) AS absent
         FROM ends
         WHERE closing = 0 AND seen > reported
           AND (SELECT max(r.settled_at) FROM receipts r
                WHERE r.instance = ends.instance AND r.number = ends.seen) < ?2
         ORDER BY instance DESC LIMIT ?1",
    )
    .bind(limit)
    .bind(moment::ago(silent))
    .fetch_all(c)
    .await?;
    let one = |row: &SqliteRow| {
        Ok(Unvouched {
            instance: row.instance("instance")?,
            reported: row.count("reported")?,
            seen: row.count("seen")?,
            absent: row.count("absent")?,
        })
    };
    rows.iter().map(one).collect()
}
