//! The table `route_controls`: what operators have set for routes while workers run.

use std::num::NonZeroU32;

use hookbox_driver::{
    EventRate, RouteChange, RouteControl, RouteControls, RouteLimits, RoutePause, RouteScope,
    storable,
};
use hookbox_event::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::Columns;
use crate::{audit, moment};

/// Returns all rows: at most one for each route, and at most one that applies to all routes.
pub(crate) async fn all(c: &mut SqliteConnection) -> sqlx::Result<RouteControls> {
    let rows = sqlx::query(
        "select route, paused_at, paused_by, paused_why, resumed_at, events_per_1000_s, concurrency
         from route_controls",
    )
    .fetch_all(c)
    .await?;
    let rows = rows.iter().map(control).collect::<sqlx::Result<_>>()?;
    Ok(RouteControls::new(rows))
}

/// See [`hookbox_driver::Ledger::change_route`]. The caller holds the only writing transaction, so
/// no other operator changes the row meanwhile.
pub(crate) async fn change(
    c: &mut SqliteConnection,
    scope: &RouteScope,
    change: &RouteChange,
    by: &str,
) -> sqlx::Result<bool> {
    sqlx::query("insert into route_controls (route) values (?1) on conflict do nothing")
        .bind(scope.as_str())
        .execute(&mut *c)
        .await?;
    let row = sqlx::query(
        "select route, paused_at, paused_by, paused_why, resumed_at, events_per_1000_s, concurrency
         from route_controls where route = ?1",
    )
    .bind(scope.as_str())
    .fetch_one(&mut *c)
    .await?;
    let now = Timestamp::from_unix_micros(moment::now());
    let Some(next) = control(&row)?.after(change, by, now) else {
        return Ok(false);
    };
    put(&mut *c, &next).await?;
    audit::insert(c, by, change.action(), &next.subject(change)).await?;
    Ok(true)
}

async fn put(c: &mut SqliteConnection, next: &RouteControl) -> sqlx::Result<()> {
    let pause = next.pause.as_ref();
    let RouteLimits {
        rate_per_worker,
        concurrency_per_worker,
    } = next.limits;
    let rate = rate_per_worker.map(EventRate::per_1000_s);
    sqlx::query(
        "update route_controls
         set paused_at = ?2, paused_by = ?3, paused_why = ?4, resumed_at = ?5,
             events_per_1000_s = ?6, concurrency = ?7
         where route = ?1",
    )
    .bind(next.scope.as_str())
    .bind(pause.map(|pause| pause.since.unix_micros()))
    .bind(pause.map(|pause| storable(&pause.by)))
    .bind(pause.map(|pause| storable(&pause.why)))
    .bind(next.resumed_at.map(Timestamp::unix_micros))
    .bind(rate.map(|events| i64::try_from(events).unwrap_or(i64::MAX)))
    .bind(concurrency_per_worker.map(|limit| i64::from(limit.get())))
    .execute(c)
    .await?;
    Ok(())
}

fn control(row: &SqliteRow) -> sqlx::Result<RouteControl> {
    Ok(RouteControl {
        scope: row.parsed("route")?,
        pause: pause(row)?,
        resumed_at: row.moment_or_none("resumed_at")?,
        limits: limits(row)?,
    })
}

fn pause(row: &SqliteRow) -> sqlx::Result<Option<RoutePause>> {
    let Some(since) = row.moment_or_none("paused_at")? else {
        return Ok(None);
    };
    Ok(Some(RoutePause {
        by: row.text("paused_by")?,
        why: row.text("paused_why")?,
        since,
    }))
}

/// Reads the limits of a route. A value that hookbox would never write counts as no limit. If it
/// were an error, a worker could not read the table, and would stop all routes.
fn limits(row: &SqliteRow) -> sqlx::Result<RouteLimits> {
    let rate: Option<i64> = row.try_get("events_per_1000_s")?;
    let concurrency: Option<i64> = row.try_get("concurrency")?;
    let rate = rate.and_then(|events| u64::try_from(events).ok());
    let concurrency = concurrency.and_then(|limit| u32::try_from(limit).ok());
    Ok(RouteLimits {
        rate_per_worker: rate.and_then(EventRate::from_per_1000_s),
        concurrency_per_worker: concurrency.and_then(NonZeroU32::new),
    })
}
