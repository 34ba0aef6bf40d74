//! How much waits in the store; one statement, so one state.

use hookbox_driver::Backlog;
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;
use crate::moment;
use crate::store::HEARD_WITHIN;

/// What waits on each route that has something waiting.
pub(crate) async fn backlog(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Backlog>> {
    let rows = sqlx::query(
        "SELECT route, sum(retrying) AS retrying, sum(due) AS due, sum(dead) AS dead
         FROM (SELECT route, count(*) AS retrying,
                      count(*) FILTER (WHERE not_before <= ?1
                                         AND (queued_at IS NULL OR queued_at <= ?2)) AS due,
                      0 AS dead
               FROM retries GROUP BY route
               UNION ALL
               SELECT route, 0, 0, count(*) FROM dead_letters WHERE state = 'dead' GROUP BY route)
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
                dead: row.count("dead")?,
            })
        })
        .collect()
}
