//! Counts the events that wait for a retry, and the dead letters. One statement counts both, so
//! that all counts are of one moment.

use hookbox_driver::{Backlog, DeferReason};
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;
use crate::moment;
use crate::requeue::HEARD_WITHIN;
use crate::retries::is_leased;

/// Counts, for each route, the events that wait for a retry and those that are dead letters. A
/// route that has neither is not in the result.
pub(crate) async fn backlog(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Backlog>> {
    let rows = sqlx::query(concat!(
        "select route, sum(retrying) as retrying, sum(due) as due, sum(dead) as dead,
                sum(deferred) as deferred, max(0, max(oldest)) as oldest,
                sum(missing_right) as missing_right, sum(target_fault) as target_fault
         from (select route, count(*) as retrying,
                      count(*) filter (where not_before <= ?1
                                         and (queued_at is null or queued_at <= ?2)) as due,
                      0 as dead,
                      count(*) filter (where is_deferred) as deferred,
                      coalesce((?1 - min(deferred_since)
                          filter (where is_deferred)) / 1000000, 0) as oldest,
                      count(*) filter (where is_deferred and deferred_reason = ?3)
                          as missing_right,
                      count(*) filter (where is_deferred and deferred_reason in (?4, ?5))
                          as target_fault
               from (select route, not_before, queued_at, deferred_reason, deferred_since,
                            deferred_attempt = attempt and not coalesce(",
        is_leased!(),
        ", 0) as is_deferred
                     from retries)
               group by route
               union all
               select route, 0, 0, count(*), 0, 0, 0, 0 from dead_letters where state = 'dead'
               group by route)
         group by route order by route",
    ))
    .bind(moment::now())
    .bind(moment::ago(HEARD_WITHIN))
    .bind(DeferReason::MissingRight.as_str())
    .bind(DeferReason::TargetFault.as_str())
    .bind(DeferReason::TargetClosed.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Backlog {
                route: row.parsed("route")?,
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
