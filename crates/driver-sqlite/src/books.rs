//! Checks the accounting: every receipt has one outcome, and no table contradicts another.

use std::collections::BTreeMap;

use hookbox_driver::{Imbalance, RouteBooks, StoredOutcome};
use hookbox_event::RouteName;
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// The statement that finds rows of different tables that contradict each other. Each part checks
/// one rule that holds after every transaction of hookbox. One statement combines the parts, so
/// that they see the same state.
const FIND: &str = "
SELECT route, event_id, 'the claim was committed without an outcome' AS what
FROM claims WHERE state = 'running'
UNION ALL
SELECT c.route, c.event_id, 'the claim waits for a retry that is not there'
FROM claims AS c LEFT JOIN retries AS w ON w.route = c.route AND w.event_id = c.event_id
WHERE c.state = 'retrying' AND w.route IS NULL
UNION ALL
SELECT c.route, c.event_id, 'a retry waits though the claim is ' || c.state
FROM retries AS w JOIN claims AS c ON c.route = w.route AND c.event_id = w.event_id
WHERE c.state <> 'retrying'
UNION ALL
SELECT c.route, c.event_id, 'a retry waits without a receipt to send it by'
FROM retries AS w JOIN claims AS c ON c.route = w.route AND c.event_id = w.event_id
WHERE NOT EXISTS (SELECT 1 FROM receipts AS r
                  WHERE r.route = w.route AND r.event_id = w.event_id)
UNION ALL
SELECT c.route, c.event_id, 'the claim is dead without a dead letter'
FROM claims AS c LEFT JOIN dead_letters AS d ON d.route = c.route AND d.event_id = c.event_id
WHERE c.state = 'dead' AND d.id IS NULL
UNION ALL
SELECT c.route, c.event_id, 'the dead letter is ' || d.state || ' though the claim is ' || c.state
FROM dead_letters AS d JOIN claims AS c ON c.route = d.route AND c.event_id = d.event_id
WHERE (c.state = 'dead') <> (d.state <> 'replayed')
UNION ALL
SELECT c.route, c.event_id, 'a receipt is ' || r.outcome || ' though the claim is ' || c.state
FROM receipts AS r JOIN claims AS c ON c.route = r.route AND c.event_id = r.event_id
WHERE r.outcome IN ('done', 'retrying', 'dead') AND r.outcome <> c.state
UNION ALL
SELECT c.route, c.event_id, 'the claim is ' || c.state || ' without a receipt that stands for it'
FROM claims AS c JOIN events AS e ON e.event_id = c.event_id
WHERE c.state <> 'running' AND e.topic <> 'hookbox.undecodable'
  AND NOT EXISTS (SELECT 1 FROM receipts AS r
                  WHERE r.route = c.route AND r.event_id = c.event_id
                    AND r.outcome <> 'duplicate')
UNION ALL
SELECT r.route, r.event_id, 'a receipt has number ' || r.number
       || ', and its ingest closed with number ' || closed.last
FROM (SELECT instance, max(last) AS last FROM accounts
      GROUP BY instance HAVING max(closing)) AS closed
JOIN receipts AS r ON r.instance = closed.instance AND r.number > closed.last
UNION ALL
SELECT r.route, r.event_id, 'another receipt has the number ' || r.number || ' of the same ingest'
FROM receipts AS r
WHERE EXISTS (SELECT 1 FROM receipts AS o
              WHERE o.instance = r.instance AND o.number = r.number
                AND o.receipt_id < r.receipt_id)
LIMIT ?1";

/// Counts the receipts of every route by outcome, in one statement, so that all counts are of one
/// moment.
pub(crate) async fn books(connection: &mut SqliteConnection) -> sqlx::Result<Vec<RouteBooks>> {
    let rows = sqlx::query(
        "SELECT route, outcome, count(*) AS receipts FROM receipts GROUP BY route, outcome",
    )
    .fetch_all(connection)
    .await?;
    let mut books: BTreeMap<RouteName, RouteBooks> = BTreeMap::new();
    for row in rows {
        let route: RouteName = row.parsed("route")?;
        let page = books.entry(route.clone()).or_insert(RouteBooks {
            route,
            done: 0,
            duplicate: 0,
            conflict: 0,
            retrying: 0,
            dead: 0,
        });
        let outcome = row.text("outcome")?;
        let outcome = StoredOutcome::parse(&outcome)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown outcome {outcome:?}").into()))?;
        let place = match outcome {
            StoredOutcome::Done => &mut page.done,
            StoredOutcome::Duplicate => &mut page.duplicate,
            StoredOutcome::Conflict => &mut page.conflict,
            StoredOutcome::Retrying => &mut page.retrying,
            StoredOutcome::Dead => &mut page.dead,
        };
        *place = row.count("receipts")?;
    }
    Ok(books.into_values().collect())
}

/// Returns at most `limit` contradictions.
pub(crate) async fn imbalances(
    connection: &mut SqliteConnection,
    limit: u32,
) -> sqlx::Result<Vec<Imbalance>> {
    let rows = sqlx::query(FIND).bind(limit).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(Imbalance {
                route: row.parsed("route")?,
                event: row.event("event_id")?,
                what: row.text("what")?,
            })
        })
        .collect()
}
