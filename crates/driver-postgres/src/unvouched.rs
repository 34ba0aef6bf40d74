//! Ingests that never told of their last numbers: killed, or drained while no account was taken.

use std::time::Duration;

use hookbox_driver::Unvouched;
use hookbox_event::InstanceId;
use sqlx::{Error, PgConnection};

use crate::column::Columns;

/// See [`hookbox_driver::Ledger::unvouched`]. Instances are found by steps over an index, one step
/// each, however many receipts they have.
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
         select known.instance, told.last as told, newest.number as seen,
                newest.number - told.last
                    - (select count(distinct r.number) from receipts r
                       where r.instance = known.instance and r.number > told.last) as absent
         from known
         cross join lateral (
             select coalesce(max(last), 0) as last, coalesce(bool_or(closing), false) as closing
             from accounts a where a.instance = known.instance) as told
         cross join lateral (
             select number, settled_at from receipts r where r.instance = known.instance
             order by number desc limit 1) as newest
         where not told.closing and newest.number > told.last
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
            told: Columns::count(row, "told")?,
            seen: Columns::count(row, "seen")?,
            absent: Columns::count(row, "absent")?,
        })
    };
    rows.iter().map(one).collect()
}
