//! Checks the accounting: every receipt has one outcome, and no table contradicts another.

use std::collections::BTreeMap;

use hookbox_driver::{Imbalance, RouteBooks, StoredOutcome};
use hookbox_event::RouteName;
use sqlx::sqlite::SqliteConnection;

use crate::claim_states::orphaned;
use crate::column::Columns;
use crate::meta::receipts_kept_from;

/// The statement that finds rows of different tables that contradict each other. Each part checks
/// one rule that holds after every transaction of hookbox. One statement combines the parts, so
/// that they see the same state.
const FIND: &str = concat!(
    "
select found.route, e.event_id, found.what from (
select c.route, c.event, 'a claim of event number ' || c.event || ', which is not stored' as what
from claims as c where not exists (select 1 from events as e where e.number = c.event)
union all
select c.route, c.event, 'a claim of an event without its body'
from claims as c join events as e on e.number = c.event
where not exists (select 1 from bodies as b where b.event = c.event)
union all
select c.route, c.event, 'a claim that was committed without an outcome'
from claims as c where c.state = 'running' or ",
    orphaned!(),
    "
union all
select c.route, c.event, 'a retrying claim without a retry'
from claims as c left join retries as w on w.route = c.route and w.event = c.event
where c.state = 'retrying' and w.route is null
union all
select c.route, c.event, 'a retry of a claim that is ' || c.state
from retries as w join claims as c on c.route = w.route and c.event = w.event
where c.state <> 'retrying'
union all
select c.route, c.event, 'a retry that cannot be published, because its event has no receipt'
from retries as w join claims as c on c.route = w.route and c.event = w.event
where not exists (select 1 from receipts as r
                  where r.route = w.route and r.event = w.event)
union all
select c.route, c.event, 'a dead claim without a dead letter'
from claims as c left join dead_letters as d on d.route = c.route and d.event = c.event
where c.state = 'dead' and d.id is null
union all
select c.route, c.event, 'the dead letter is ' || d.state || ' though the claim is ' || c.state
from dead_letters as d join claims as c on c.route = d.route and c.event = d.event
where (c.state = 'dead') <> (d.state <> 'replayed')
union all
select c.route, c.event, 'a ' || r.outcome || ' receipt of a ' || c.state || ' claim'
from receipts as r join claims as c on c.route = r.route and c.event = r.event
where r.outcome in ('done', 'retrying', 'dead', 'stale') and r.outcome <> c.state
union all
select c.route, c.event, 'a ' || c.state || ' claim without a receipt other than duplicates'
from claims as c join events as e on e.number = c.event
where (c.state = 'retrying' or c.state in ('dead', 'stale') and c.event >= ",
    receipts_kept_from!(),
    ")
  and e.topic <> 'hookbox.undecodable'
  and not exists (select 1 from receipts as r
                  where r.route = c.route and r.event = c.event
                    and r.outcome <> 'duplicate')
union all
select r.route, r.event, 'a receipt has number ' || r.number
       || ', and its ingest closed with number ' || closed.last
from (select instance, max(last) as last from accounts
      group by instance having max(closing)) as closed
join receipts as r on r.instance = closed.instance and r.number > closed.last
union all
select r.route, r.event, 'another receipt has the number ' || r.number || ' of the same ingest'
from receipts as r
where exists (select 1 from receipts as o
              where o.instance = r.instance and o.number = r.number
                and o.receipt_id < r.receipt_id)
limit ?1) as found
left join events as e on e.number = found.event"
);

/// Counts the receipts of every route by outcome, in one statement, so that all counts are of one
/// moment.
pub(crate) async fn books(connection: &mut SqliteConnection) -> sqlx::Result<Vec<RouteBooks>> {
    let rows = sqlx::query(
        "select route, outcome, count(*) as receipts from receipts group by route, outcome",
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
            stale: 0,
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
            StoredOutcome::Stale => &mut page.stale,
        };
        *place = row.count("receipts")?;
    }
    Ok(books.into_values().collect())
}

/// Returns at most `limit` of the contradictions that [`FIND`] finds.
pub(crate) async fn imbalances(
    connection: &mut SqliteConnection,
    limit: u32,
) -> sqlx::Result<Vec<Imbalance>> {
    let rows = sqlx::query(FIND).bind(limit).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(Imbalance {
                route: row.parsed("route")?,
                event: row.event_or_none("event_id")?,
                what: row.text("what")?,
            })
        })
        .collect()
}
