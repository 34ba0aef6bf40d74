//! Finds the names of sources, topics and routes that the store has seen.

use hookbox_driver::{Name, Names, RouteScope};
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// The query for the names that occur in the newest events and dead letters and in refusals, and
/// for the routes that ingests have reported or that operators have paused or limited.
const LATELY: &str = "
with newest as (
    select e.source, e.topic, c.route
    from (select number, source, topic from events order by received_at desc limit 1000) as e
    left join claims as c on c.event = e.number
), dead as (
    select e.source, e.topic, d.route
    from (select event, route from dead_letters order by id desc limit 1000) as d
    join events as e on e.number = d.event
)
select 'source' as kind, source as name from refusals
union select 'source', source from newest
union select 'source', source from dead
union select 'topic', topic from newest
union select 'topic', topic from dead
union select 'route', route from accepted
union select 'route', route from route_controls where route <> ?1
union select 'route', route from newest where route is not null
union select 'route', route from dead";

/// See [`hookbox_driver::Ledger::names`].
pub(crate) async fn lately(connection: &mut SqliteConnection) -> sqlx::Result<Names> {
    let rows = sqlx::query(LATELY)
        .bind(RouteScope::All.as_str())
        .fetch_all(connection)
        .await?;
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

/// Returns whether the store has ever seen a name. For a name that it has not seen, this is slow,
/// because it reads whole tables.
pub(crate) async fn has_seen(
    connection: &mut SqliteConnection,
    name: Name<'_>,
) -> sqlx::Result<bool> {
    let question = match name {
        Name::Source(_) => {
            "select exists (select 1 from refusals where source = ?1)
                 or exists (select 1 from events where source = ?1)"
        }
        Name::Topic(_) => "select exists (select 1 from events where topic = ?1)",
        Name::Route(_) => {
            "select exists (select 1 from accepted where route = ?1)
                 or exists (select 1 from route_controls where route = ?1)
                 or exists (select 1 from claims where route = ?1)"
        }
    };
    sqlx::query_scalar(question)
        .bind(name.as_str())
        .fetch_one(connection)
        .await
}
