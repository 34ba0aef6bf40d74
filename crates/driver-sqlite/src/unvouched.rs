//! Finds ingests that have stopped without reporting their last sequence numbers: they were killed,
//! or they drained while no accept report could be published.

use std::time::Duration;

use hookbox_driver::Unvouched;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::Columns;
use crate::moment;

/// Finds ingests that have stopped without reporting their last sequence numbers; see
/// [`hookbox_driver::Ledger::unvouched`]. A recursive query jumps from one instance to the next in
/// the index, so its cost does not depend on how many receipts an instance has.
pub(crate) async fn read(
    c: &mut SqliteConnection,
    limit: u32,
    silent: Duration,
) -> sqlx::Result<Vec<Unvouched>> {
    let rows = sqlx::query(
        "with recursive known (instance) as (
             select (select min(instance) from receipts)
             union all
             select (select min(r.instance) from receipts r where r.instance > known.instance)
             from known where known.instance is not null
         ),
         ends as (
             select instance,
                    (select coalesce(max(a.last), 0) from accounts a
                     where a.instance = known.instance) as reported,
                    (select max(r.number) from receipts r
                     where r.instance = known.instance) as seen,
                    (select coalesce(max(a.closing), 0) from accounts a
                     where a.instance = known.instance) as closing
             from known where instance is not null
         )
         select instance, reported, seen,
                seen - reported - (select count(distinct r.number) from receipts r
                               where r.instance = ends.instance and r.number > reported) as absent
         from ends
         where closing = 0 and seen > reported
           and (select max(r.settled_at) from receipts r
                where r.instance = ends.instance and r.number = ends.seen) < ?2
         order by instance desc limit ?1",
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
