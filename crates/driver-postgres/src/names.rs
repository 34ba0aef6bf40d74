//! Finds the names of sources, topics and routes that the store has seen.

use hookbox_driver::{Name, Names, RouteScope};
use sqlx::{Error, PgConnection, Row};

/// Returns the names in the newest events and dead letters, the sources of refusals, and the routes
/// that ingests have reported or that operators have paused or limited.
pub(crate) async fn lately(c: &mut PgConnection) -> Result<Names, Error> {
    let rows = sqlx::query(
        "select 'source' as kind, source as name from refusals
         union
         select 'route', route from accepted
         union
         select 'route', route from route_controls where route <> $1
         union
         select kind.kind, kind.name
         from (select number, source, topic from events
               order by received_at desc limit 1000) e
         cross join lateral (
             values ('source', e.source), ('topic', e.topic)
             union all
             select 'route', c.route from claims c where c.event = e.number
         ) as kind (kind, name)
         union
         select kind.kind, kind.name
         from (select event, route from dead_letters order by id desc limit 1000) d
         join events e on e.number = d.event
         cross join lateral (
             values ('source', e.source), ('topic', e.topic), ('route', d.route)
         ) as kind (kind, name)",
    )
    .bind(RouteScope::All.as_str())
    .fetch_all(c)
    .await?;
    let mut names = Names::default();
    for row in &rows {
        let name: String = row.try_get("name")?;
        match row.try_get("kind")? {
            "source" => names.sources.insert(name),
            "topic" => names.topics.insert(name),
            _ => names.routes.insert(name),
        };
    }
    Ok(names)
}

/// Returns whether the store has ever seen a name. For a name that it has not seen, this is slow,
/// because it reads whole tables.
pub(crate) async fn has_seen(c: &mut PgConnection, name: Name<'_>) -> Result<bool, Error> {
    let question = match name {
        Name::Source(_) => {
            "select exists (select from refusals where source = $1)
                 or exists (select from events where source = $1)"
        }
        Name::Topic(_) => "select exists (select from events where topic = $1)",
        Name::Route(_) => {
            "select exists (select from accepted where route = $1)
                 or exists (select from route_controls where route = $1)
                 or exists (select from claims where route = $1)"
        }
    };
    sqlx::query_scalar(question)
        .bind(name.as_str())
        .fetch_one(c)
        .await
}
