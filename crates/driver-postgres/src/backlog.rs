//! Counts the events that wait for a retry, and the dead letters. One statement counts both, so
//! that all counts are of one moment.

use hookbox_driver::{Backlog, DeferReason};
use sqlx::{Error, PgConnection};

use crate::column::Columns;
use crate::retries::is_leased;

/// Counts, for each route, the events that wait for a retry and those that are dead letters. A
/// route that has neither is not in the result.
pub(crate) async fn backlog(c: &mut PgConnection) -> Result<Vec<Backlog>, Error> {
    let rows = sqlx::query(concat!(
        "select route, sum(retrying)::bigint as retrying, sum(due)::bigint as due,
                sum(dead)::bigint as dead, sum(deferred)::bigint as deferred,
                max(oldest)::bigint as oldest, sum(missing_right)::bigint as missing_right,
                sum(target_fault)::bigint as target_fault
         from (select route, count(*) as retrying,
                      count(*) filter (where not_before <= now()
                                         and (queued_at is null
                                              or queued_at < now() - interval '1 hour')) as due,
                      0 as dead,
                      count(*) filter (where is_deferred) as deferred,
                      coalesce(greatest(0, floor(extract(epoch from now() - min(deferred_since)
                          filter (where is_deferred)))), 0) as oldest,
                      count(*) filter (where is_deferred and deferred_reason = $1)
                          as missing_right,
                      count(*) filter (where is_deferred and deferred_reason in ($2, $3))
                          as target_fault
               from (select route, not_before, queued_at, deferred_reason, deferred_since,
                            deferred_attempt = attempt and not coalesce(",
        is_leased!(),
        ", false) as is_deferred
                     from retries) as waits
               group by route
               union all
               select route, 0, 0, count(*), 0, 0, 0, 0 from dead_letters where state = 'dead'
               group by route)
              as waiting
         group by route order by route",
    ))
    .bind(DeferReason::MissingRight.as_str())
    .bind(DeferReason::TargetFault.as_str())
    .bind(DeferReason::TargetClosed.as_str())
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Backlog {
                route: row.word("route", str::parse)?,
                retrying: row.count("retrying")?,
                due: row.count("due")?,
                deferred: row.count("deferred")?,
                deferred_oldest_s: row.count("oldest")?,
                missing_right: row.count("missing_right")?,
                target_fault: row.count("target_fault")?,
                dead: row.count("dead")?,
            })
        })
        .collect()
}
