//! Counts the events that wait for a retry or as a dead letter. One statement counts them all, so
//! that all counts are of one moment.

use hookbox_driver::Backlog;
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;
use crate::moment;
use crate::requeue::HEARD_WITHIN;

/// Counts the waiting events of each route. A route without waiting events is not in the result.
pub(crate) async fn backlog(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Backlog>> {
    let rows = sqlx::query(
        "SELECT route, sum(retrying) AS retrying, sum(due) AS due, sum(dead) AS dead,
                sum(deferred) AS deferred, max(0, max(oldest)) AS oldest
         FROM (SELECT route, count(*) AS retrying,
                      count(*) FILTER (WHERE not_before <= ?1
                                         AND (queued_at IS NULL OR queued_at <= ?2)) AS due,
                      0 AS dead,
                      count(*) FILTER (WHERE deferred_attempt = attempt) AS deferred,
                      coalesce((?1 - min(deferred_since)
                          FILTER (WHERE deferred_attempt = attempt)) / 1000000, 0) AS oldest
               FROM retries GROUP BY route
               UNION ALL
               SELECT route, 0, 0, count(*), 0, 0 FROM dead_letters WHERE state = 'dead'
               GROUP BY route)
         GROUP BY route ORDER BY route",
    )
    .bind(moment::now())
    .bind(moment::ago(HEARD_WITHIN))
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
                dead: row.count("dead")?,
            })
        })
        .collect()
}
