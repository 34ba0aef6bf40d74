//! The table `route_controls`: what operators have set for routes while workers run.

use std::num::NonZeroU32;

use hookbox_driver::{
    EventRate, RouteChange, RouteControl, RouteControls, RouteLimits, RoutePause, RouteScope,
};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::audit;
use crate::column::{Columns, bigint, integer, moment, text};

/// Returns all rows: at most one for each route, and at most one that applies to all routes.
pub(crate) async fn all(c: &mut PgConnection) -> Result<RouteControls, Error> {
    let rows = sqlx::query(
        "select route, paused_at, paused_by, paused_why, resumed_at, events_per_1000_s, concurrency
         from route_controls",
    )
    .fetch_all(c)
    .await?;
    let rows = rows.iter().map(control).collect::<Result<_, _>>()?;
    Ok(RouteControls::new(rows))
}

/// See [`hookbox_driver::Ledger::change_route`].
pub(crate) async fn change(
    c: &mut PgConnection,
    scope: &RouteScope,
    change: &RouteChange,
    by: &str,
) -> Result<bool, Error> {
    // The row must exist so that it can be locked. Otherwise, of two operators who pause a route at
    // the same time, the second would overwrite the reason of the first.
    sqlx::query("insert into route_controls (route) values ($1) on conflict do nothing")
        .bind(scope.as_str())
        .execute(&mut *c)
        .await?;
    let row = sqlx::query(
        "select route, paused_at, paused_by, paused_why, resumed_at, events_per_1000_s,
                concurrency, clock_timestamp() as at
         from route_controls where route = $1 for update",
    )
    .bind(scope.as_str())
    .fetch_one(&mut *c)
    .await?;
    let Some(next) = control(&row)?.after(change, by, row.moment("at")?) else {
        return Ok(false);
    };
    put(&mut *c, &next).await?;
    audit::insert(c, by, change.action(), &next.subject(change)).await?;
    Ok(true)
}

async fn put(c: &mut PgConnection, next: &RouteControl) -> Result<(), Error> {
    let pause = next.pause.as_ref();
    let RouteLimits {
        rate_per_worker,
        concurrency_per_worker,
    } = next.limits;
    sqlx::query(
        "update route_controls
         set paused_at = $2, paused_by = $3, paused_why = $4, resumed_at = $5,
             events_per_1000_s = $6, concurrency = $7
         where route = $1",
    )
    .bind(next.scope.as_str())
    .bind(pause.map(|pause| moment(pause.since)))
    .bind(pause.map(|pause| text(&pause.by)))
    .bind(pause.map(|pause| text(&pause.why)))
    .bind(next.resumed_at.map(moment))
    .bind(rate_per_worker.map(|rate| bigint(rate.per_1000_s())))
    .bind(concurrency_per_worker.map(|limit| integer(limit.get())))
    .execute(c)
    .await?;
    Ok(())
}

fn control(row: &PgRow) -> Result<RouteControl, Error> {
    Ok(RouteControl {
        scope: row.word("route", str::parse)?,
        pause: pause(row)?,
        resumed_at: row.moment_or_none("resumed_at")?,
        limits: limits(row)?,
    })
}

fn pause(row: &PgRow) -> Result<Option<RoutePause>, Error> {
    let Some(since) = row.moment_or_none("paused_at")? else {
        return Ok(None);
    };
    Ok(Some(RoutePause {
        by: row.try_get("paused_by")?,
        why: row.try_get("paused_why")?,
        since,
    }))
}

/// Reads the limits of a route. A value that hookbox would never write counts as no limit. If it
/// were an error, a worker could not read the table, and would stop all routes.
fn limits(row: &PgRow) -> Result<RouteLimits, Error> {
    let rate: Option<i64> = row.try_get("events_per_1000_s")?;
    let concurrency: Option<i32> = row.try_get("concurrency")?;
    let rate = rate.and_then(|events| u64::try_from(events).ok());
    let concurrency = concurrency.and_then(|limit| u32::try_from(limit).ok());
    Ok(RouteLimits {
        rate_per_worker: rate.and_then(EventRate::from_per_1000_s),
        concurrency_per_worker: concurrency.and_then(NonZeroU32::new),
    })
}
