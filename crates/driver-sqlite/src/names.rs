//! Finds the names of sources, topics and routes that the store has seen.

use hookbox_driver::{Name, Names};
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// The query for the names that occur in the newest events and dead letters and in refusals, and
/// for the routes that ingests have reported.
const LATELY: &str = "
WITH newest AS (
    SELECT e.event_id, e.source, e.topic, c.route
    FROM (SELECT event_id, source, topic FROM events ORDER BY received_at DESC LIMIT 1000) AS e
    LEFT JOIN claims AS c ON c.event_id = e.event_id
), dead AS (
    SELECT e.source, e.topic, d.route
    FROM (SELECT event_id, route FROM dead_letters ORDER BY id DESC LIMIT 1000) AS d
    JOIN events AS e ON e.event_id = d.event_id
)
SELECT 'source' AS kind, source AS name FROM refusals
UNION SELECT 'source', source FROM newest
UNION SELECT 'source', source FROM dead
UNION SELECT 'topic', topic FROM newest
UNION SELECT 'topic', topic FROM dead
UNION SELECT 'route', route FROM accepted
UNION SELECT 'route', route FROM newest WHERE route IS NOT NULL
UNION SELECT 'route', route FROM dead";

/// See [`hookbox_driver::Ledger::names`].
pub(crate) async fn lately(connection: &mut SqliteConnection) -> sqlx::Result<Names> {
    let rows = sqlx::query(LATELY).fetch_all(connection).await?;
    let mut names = Names::default();
    for row in &rows {
        let name = row.text("name")?;
        match row.text("kind")?.as_str() {
            "source" => names.sources.insert(name),
            "topic" => names.topics.insert(name),
            _ => names.routes.insert(name),
        };
    }
    Ok(names)
}

/// Returns whether the store has ever seen a name. The query is slow for a name that it does not
/// find, because it then reads whole tables.
pub(crate) async fn has_seen(
    connection: &mut SqliteConnection,
    name: Name<'_>,
) -> sqlx::Result<bool> {
    let question = match name {
        Name::Source(_) => {
            "SELECT EXISTS (SELECT 1 FROM refusals WHERE source = ?1)
                 OR EXISTS (SELECT 1 FROM events WHERE source = ?1)"
        }
        Name::Topic(_) => "SELECT EXISTS (SELECT 1 FROM events WHERE topic = ?1)",
        Name::Route(_) => {
            "SELECT EXISTS (SELECT 1 FROM accepted WHERE route = ?1)
                 OR EXISTS (SELECT 1 FROM claims WHERE route = ?1)"
        }
    };
    sqlx::query_scalar(question)
        .bind(name.as_str())
        .fetch_one(connection)
        .await
}
