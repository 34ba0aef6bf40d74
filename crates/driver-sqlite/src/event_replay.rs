//! Replays stored events on a route. An event that is done there starts a new round. An event that
//! the route has not had before starts its first round. Each page of events is one transaction,
//! together with its audit rows.

use hookbox_crash::crash_point;
use hookbox_driver::{
    BodyCheck, Fault, ReplayCandidate, ReplayChoice, ReplayFilter, ReplayPage, ReplayPosition,
    replayed_events,
};
use hookbox_event::{EventId, EventNumber, SourceName, Topic};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::claim_states::{self, evidence};
use crate::column::{Columns, hex_list, numbers};
use crate::conditions::{push_times, push_words};
use crate::diagnose::fault;
use crate::file::writer::Writer;
use crate::{audit, claims, moment, receipts, retries};

/// The start of the statement that reads events. `select` appends the route, and further
/// conditions.
const CANDIDATES: &str = concat!(
    "select e.event_id, e.number, e.topic, e.received_at, c.event is not null as is_claimed, ",
    evidence!(),
    ",
            exists (select 1 from receipts as r
                    where r.event = e.number and r.outcome <> 'conflict') as has_receipt
     from events as e left join claims as c on c.event = e.number and c.route = "
);

/// Returns what [`replay`] would do with a page of events.
pub(crate) async fn plan(
    connection: &mut SqliteConnection,
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
) -> sqlx::Result<ReplayChoice> {
    let candidates = candidates(connection, filter, after, limit).await?;
    Ok(ReplayChoice::of(filter, &candidates))
}

/// Replays a page of events on the filter's route, and counts them.
pub(crate) async fn replay(
    writer: &Writer,
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
    audited: (&str, &str),
) -> Result<ReplayPage, Fault> {
    let doing = "replay events";
    let mut unit = writer.begin_to_operate().await?;
    let page = replay_all(unit.connection(), filter, after, limit, audited)
        .await
        .map_err(fault(doing))?;
    unit.commit().await.map_err(fault(doing))?;
    Ok(page)
}

async fn replay_all(
    connection: &mut SqliteConnection,
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
    (by, why): (&str, &str),
) -> sqlx::Result<ReplayPage> {
    let candidates = candidates(connection, filter, after, limit).await?;
    let ReplayChoice {
        page, again, first, ..
    } = ReplayChoice::of(filter, &candidates);
    let (route, now) = (&filter.route, moment::now());
    claims::reopen(connection, route, &again, now).await?;
    claims::insert_waiting(connection, route, &first, now).await?;
    receipts::reopen(connection, route, &again, now).await?;
    receipts::copy_first(connection, route, &first, now).await?;
    let replayed: Vec<EventNumber> = again.into_iter().chain(first).collect();
    retries::put_events(connection, route, &replayed, now).await?;
    crash_point!("ledger.mid_change");
    let events = replayed_events(&candidates, &replayed);
    audit::insert_replayed(connection, by, &events, route, why).await?;
    Ok(page)
}

/// Returns the next events that the filter selects, with their states on the filter's route.
async fn candidates(
    connection: &mut SqliteConnection,
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
) -> sqlx::Result<Vec<ReplayCandidate>> {
    let mut select = select(filter, after, limit);
    let rows = select.build().fetch_all(&mut *connection).await?;
    let candidates: sqlx::Result<Vec<ReplayCandidate>> = rows
        .iter()
        .map(|row| {
            let is_claimed: bool = row.try_get("is_claimed")?;
            let state = is_claimed.then(|| claim_states::counted(row)).transpose()?;
            Ok(ReplayCandidate {
                event: row.event("event_id")?,
                position: ReplayPosition {
                    at: row.moment("received_at")?,
                    number: row.event_number("number")?,
                },
                topic: row.parsed("topic")?,
                state: state.map(|(state, _)| state),
                is_selected: true,
                has_receipt: row.try_get("has_receipt")?,
            })
        })
        .collect();
    let mut candidates = candidates?;
    check_bodies(connection, filter, &mut candidates).await?;
    Ok(candidates)
}

/// Checks the conditions of the filter that depend on the bodies of events. Bodies may be large, so
/// they are read one at a time.
async fn check_bodies(
    connection: &mut SqliteConnection,
    filter: &ReplayFilter,
    candidates: &mut [ReplayCandidate],
) -> sqlx::Result<()> {
    let check = BodyCheck::new(filter);
    for candidate in candidates {
        if !check.needs_body(candidate) {
            continue;
        }
        let body: Option<Vec<u8>> = sqlx::query_scalar("select body from bodies where event = ?1")
            .bind(candidate.position.number.as_i64())
            .fetch_optional(&mut *connection)
            .await?;
        check.decide(candidate, body.as_deref());
    }
    Ok(())
}

/// Builds the statement for one page of events.
pub(crate) fn select(
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(CANDIDATES);
    select
        .push_bind(filter.route.to_string())
        .push(" where true");
    if !filter.events.is_empty() {
        select.push(" and e.event_id in (select unhex(value) from json_each(");
        let events = filter.events.iter().map(EventId::as_bytes);
        select.push_bind(hex_list(events)).push("))");
    }
    if !filter.numbers.is_empty() {
        select.push(" and e.number in (select value from json_each(");
        select.push_bind(numbers(&filter.numbers)).push("))");
    }
    push_words(
        &mut select,
        [
            (
                " and e.source = ",
                filter.source.as_ref().map(SourceName::as_str),
            ),
            (" and e.topic = ", filter.topic.as_ref().map(Topic::as_str)),
        ],
    );
    push_times(&mut select, "e.received_at", filter.since, filter.until);
    if let Some(after) = after {
        let at = after.at.unix_micros();
        select.push(" and e.received_at >= ").push_bind(at);
        select
            .push(" and (e.received_at, e.number) > (")
            .push_bind(at);
        select.push(", ").push_bind(after.number.as_i64()).push(")");
    }
    select.push(" order by e.received_at, e.number limit ");
    select.push_bind(limit);
    select
}
