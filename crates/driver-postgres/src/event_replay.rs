//! Replays stored events on a route. An event that is done there starts a new round. An event that
//! the route has not had before starts its first round. Each page of events is one transaction,
//! together with its audit rows.

use hookbox_crash::crash_point;
use hookbox_driver::{
    BodyCheck, ReplayCandidate, ReplayChoice, ReplayFilter, ReplayPage, ReplayPosition,
    replayed_events,
};
use hookbox_event::{EventId, EventNumber, SourceName, Topic};
use sqlx::{Error, PgConnection, Row};

use crate::claim_states::{self, evidence};
use crate::column::{Columns, moment, numbers};
use crate::{audit, claims, receipts, retries};

/// Returns what [`replay`] would do with a page of events.
pub(crate) async fn plan(
    c: &mut PgConnection,
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
) -> Result<ReplayChoice, Error> {
    let candidates = candidates(c, filter, after, limit).await?;
    Ok(ReplayChoice::of(filter, &candidates))
}

/// Replays a page of events on the filter's route, and counts them. An event that another operator
/// has replayed in the meantime is not counted.
pub(crate) async fn replay(
    c: &mut PgConnection,
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
    (by, why): (&str, &str),
) -> Result<ReplayPage, Error> {
    let candidates = candidates(c, filter, after, limit).await?;
    let ReplayChoice {
        mut page,
        again,
        first,
        ..
    } = ReplayChoice::of(filter, &candidates);
    let route = &filter.route;
    let again = claims::reopen(c, route, &again).await?;
    let first = claims::insert_waiting(c, route, &first).await?;
    receipts::reopen(c, route, &again).await?;
    receipts::copy_first(c, route, &first).await?;
    page.counts.again = again.len() as u64;
    page.counts.first = first.len() as u64;
    let replayed: Vec<EventNumber> = again.into_iter().chain(first).collect();
    let routes = vec![route.to_string(); replayed.len()];
    retries::put_replayed(c, &routes, &replayed).await?;
    crash_point!("ledger.mid_change");
    let events = replayed_events(&candidates, &replayed);
    audit::insert_replayed(c, by, &events, route, why).await?;
    Ok(page)
}

/// Returns the next events that the filter selects, with their states on the filter's route.
pub(crate) async fn candidates(
    c: &mut PgConnection,
    filter: &ReplayFilter,
    after: Option<ReplayPosition>,
    limit: u32,
) -> Result<Vec<ReplayCandidate>, Error> {
    let events: Vec<&[u8; 16]> = filter.events.iter().map(EventId::as_bytes).collect();
    let rows = sqlx::query(concat!(
        "select e.event_id, e.number, e.topic, e.received_at, c.event is not null as is_claimed, ",
        evidence!(),
        ",
                (select count(*) from receipts r
                 where r.event = e.number and r.outcome <> 'conflict') > 0 as has_receipt
         from events e left join claims c on c.event = e.number and c.route = $1
         where (cardinality($2::bytea[]) = 0 or e.event_id = any ($2))
           and (cardinality($3::bigint[]) = 0 or e.number = any ($3))
           and ($4::text is null or e.source = $4)
           and ($5::text is null or e.topic = $5)
           and ($6::timestamptz is null or e.received_at >= $6)
           and ($7::timestamptz is null or e.received_at < $7)
           and ($8::timestamptz is null
                or e.received_at >= $8
                   and (e.received_at, e.number) > ($8, $9::bigint))
         order by e.received_at, e.number
         limit $10",
    ))
    .bind(filter.route.as_str())
    .bind(events)
    .bind(numbers(&filter.numbers))
    .bind(filter.source.as_ref().map(SourceName::as_str))
    .bind(filter.topic.as_ref().map(Topic::as_str))
    .bind(filter.since.map(moment))
    .bind(filter.until.map(moment))
    .bind(after.map(|after| moment(after.at)))
    .bind(after.map(|after| after.number.as_i64()))
    .bind(i64::from(limit))
    .fetch_all(&mut *c)
    .await?;
    let candidates: Result<Vec<ReplayCandidate>, Error> = rows
        .iter()
        .map(|row| {
            let is_claimed: bool = row.try_get("is_claimed")?;
            let state = is_claimed.then(|| claim_states::counted(row)).transpose()?;
            Ok(ReplayCandidate {
                event: row.event("event_id")?,
                position: ReplayPosition {
                    at: row.moment("received_at")?,
                    number: row.number("number")?,
                },
                topic: row.word("topic", str::parse)?,
                state: state.map(|(state, _)| state),
                is_selected: true,
                has_receipt: row.try_get("has_receipt")?,
            })
        })
        .collect();
    let mut candidates = candidates?;
    check_bodies(c, filter, &mut candidates).await?;
    Ok(candidates)
}

/// Checks the conditions of the filter that depend on the bodies of events. Bodies may be large, so
/// they are read one at a time.
async fn check_bodies(
    c: &mut PgConnection,
    filter: &ReplayFilter,
    candidates: &mut [ReplayCandidate],
) -> Result<(), Error> {
    let check = BodyCheck::new(filter);
    for candidate in candidates {
        if !check.needs_body(candidate) {
            continue;
        }
        let body: Option<Vec<u8>> = sqlx::query_scalar("select body from bodies where event = $1")
            .bind(candidate.position.number.as_i64())
            .fetch_optional(&mut *c)
            .await?;
        check.decide(candidate, body.as_deref());
    }
    Ok(())
}
