//! Lists events on routes, page by page.

use hookbox_driver::{ClaimState, EventCursor, EventFilter, EventRow};
use hookbox_event::{RouteName, SourceName, Topic};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use crate::claim_states::{self, evidence, orphaned};
use crate::column::Columns;
use crate::conditions::{push_times, push_words};

/// The start of the statement that lists events. `CROSS JOIN` forbids SQLite to read the claims
/// first, so it reads the events along the index of their times and need not sort them. Therefore
/// the last page of a list costs as much as the first.
const LIST: &str = concat!(
    "select e.event_id, e.topic, c.route, e.received_at, c.settled_at, ",
    evidence!(),
    " from events as e cross join claims as c on c.event = e.number
     where true"
);

/// The SQL condition on the valid state of an event on a route. The wanted state is appended.
const IN_STATE: &str = concat!(
    " and case when ",
    orphaned!(),
    " then 'running' else c.state end = "
);

/// Lists events on routes, newest first.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    filter: &EventFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> sqlx::Result<Vec<EventRow>> {
    let mut select = select(filter, after, limit);
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let (state, attempts) = claim_states::counted(row)?;
            Ok(EventRow {
                event: row.event("event_id")?,
                topic: row.parsed("topic")?,
                route: row.parsed("route")?,
                state,
                attempts,
                received_at: row.moment("received_at")?,
                settled_at: row.moment_or_none("settled_at")?,
            })
        })
        .collect()
}

/// Builds the statement for one page of the list.
pub(crate) fn select(
    filter: &EventFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(LIST);
    push_words(
        &mut select,
        [
            (
                " and c.route = ",
                filter.route.as_ref().map(RouteName::as_str),
            ),
            (" and e.topic = ", filter.topic.as_ref().map(Topic::as_str)),
            (IN_STATE, filter.state.map(ClaimState::as_str)),
            (
                " and e.source = ",
                filter.source.as_ref().map(SourceName::as_str),
            ),
        ],
    );
    push_times(&mut select, "e.received_at", filter.since, filter.until);
    if let Some(error) = &filter.error {
        select.push(
            " and (exists (select 1 from attempts as a
                           where a.event = c.event and a.route = c.route
                             and instr(a.error, ",
        );
        select.push_bind(error.clone());
        select.push(
            ") > 0) or exists (select 1 from dead_letters as d
                               where d.event = c.event and d.route = c.route
                                 and instr(d.detail, ",
        );
        select.push_bind(error.clone()).push(") > 0))");
    }
    if let Some(after) = after {
        let at = after.at.unix_micros();
        select.push(" and e.received_at <= ").push_bind(at);
        select.push(" and (e.received_at < ").push_bind(at);
        select.push(" or (e.event_id, c.route) > (");
        select.push_bind(after.event.as_bytes().to_vec()).push(", ");
        select.push_bind(after.route.to_string()).push("))");
    }
    select.push(" order by e.received_at desc, e.event_id, c.route limit ");
    select.push_bind(limit);
    select
}
