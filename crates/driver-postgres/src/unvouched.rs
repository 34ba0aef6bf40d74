//! Finds ingests that have stopped without reporting their last sequence numbers: they were killed,
//! or they drained while no accept report could be published.

use std::time::Duration;

use hookbox_driver::Unvouched;
use hookbox_event::InstanceId;
use sqlx::{Error, PgConnection};

use crate::column::Columns;

/// Finds ingests that have stopped without reporting their last sequence numbers; see
/// [`hookbox_driver::Ledger::unvouched`]. A recursive query jumps from one instance to the next in
/// the index, so its cost does not depend on how many receipts an instance has.
pub(crate) async fn read(
    c: &mut PgConnection,
    limit: u32,
    silent: Duration,
) -> Result<Vec<Unvouched>, Error> {
    let rows = sqlx::query(
        "with recursive known (instance) as (
             (select instance from receipts order by instance limit 1)
             union all
             select (select r.instance from receipts r where r.instance > known.instance
                     order by r.instance limit 1)
             from known where known.instance is not null
         )
         select known.instance, reported.last as reported, newest.number as seen,
                newest.number - reported.last
                    - (select count(distinct r.number) from receipts r
                       where r.instance = known.instance and r.number > reported.last) as absent
         from known
         cross join lateral (
             select coalesce(max(last), 0) as last, coalesce(bool_or(closing), false) as closing
             from accounts a where a.instance = known.instance) as reported
         cross join lateral (
             select number, settled_at from receipts r where r.instance = known.instance
             order by number desc limit 1) as newest
         where not reported.closing and newest.number > reported.last
           and newest.settled_at < now() - make_interval(secs => $2)
         order by known.instance desc limit $1",
    )
    .bind(i64::from(limit))
    .bind(silent.as_secs_f64())
    .fetch_all(c)
    .await?;
    let one = |row| {
        Ok(Unvouched {
            instance: Columns::id16(row, "instance", InstanceId::from_bytes)?,
            reported: Columns::count(row, "reported")?,
            seen: Columns::count(row, "seen")?,
            absent: Columns::count(row, "absent")?,
        })
    };
    rows.iter().map(one).collect()
}
