//! Checks the accounting: every receipt has one outcome, and no table contradicts another.

use hookbox_driver::{Imbalance, RouteBooks};
use sqlx::{Error, PgConnection, Row};

use crate::column::Columns;
use crate::meta::receipts_kept_from;

/// Counts the receipts of every route by outcome, in one statement, so that all counts are of one
/// moment.
pub(crate) async fn books(c: &mut PgConnection) -> Result<Vec<RouteBooks>, Error> {
    let rows = sqlx::query(
        "select route,
                count(*) filter (where outcome = 'done') as done,
                count(*) filter (where outcome = 'duplicate') as duplicate,
                count(*) filter (where outcome = 'conflict') as conflict,
                count(*) filter (where outcome = 'retrying') as retrying,
                count(*) filter (where outcome = 'dead') as dead,
                count(*) filter (where outcome = 'stale') as stale
         from receipts group by route order by route",
    )
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RouteBooks {
                route: row.word("route", str::parse)?,
                done: row.count("done")?,
                duplicate: row.count("duplicate")?,
                conflict: row.count("conflict")?,
                retrying: row.count("retrying")?,
                dead: row.count("dead")?,
                stale: row.count("stale")?,
            })
        })
        .collect()
}

/// Finds rows of different tables that contradict each other. Each part of the statement checks one
/// rule that holds after every transaction of hookbox.
pub(crate) async fn imbalances(c: &mut PgConnection, limit: u32) -> Result<Vec<Imbalance>, Error> {
    let rows = sqlx::query(concat!(
        "select found.route, events.event_id, found.what
         from (
         select c.route, c.event, 'a claim of event number ' || c.event || ', which is not stored'
                as what
         from claims c where not exists (select from events e where e.number = c.event)
         union all
         select c.route, c.event, 'a claim of an event without its body'
         from claims c join events e on e.number = c.event
         where not exists (select from bodies b where b.event = c.event)
         union all
         select c.route, c.event, 'a claim that was committed without an outcome'
         from claims c where c.state = 'running'
         union all
         select c.route, c.event, 'a claim that was committed without an outcome'
         from claims c
         where c.state = 'done' and c.event >= ",
        receipts_kept_from!(),
        " and not exists (select from receipts r
                           where r.event = c.event and r.route = c.route
                             and r.outcome in ('done', 'conflict'))
         union all
         select c.route, c.event, 'a ' || c.state || ' claim without a receipt'
         from claims c
         where (c.state = 'retrying' or c.state in ('dead', 'stale') and c.event >= ",
        receipts_kept_from!(),
        ") and not exists (select from receipts r
                           where r.event = c.event and r.route = c.route)
           and not exists (select from dead_letters d
                           where d.event = c.event and d.route = c.route
                             and d.reason = 'undecodable')
         union all
         select r.route, r.event, 'a receipt without a claim'
         from receipts r
         where not exists (select from claims c
                           where c.event = r.event and c.route = r.route)
         union all
         select r.route, r.event, 'a ' || r.outcome || ' receipt of a ' || c.state || ' claim'
         from receipts r join claims c using (event, route)
         where r.outcome in ('done', 'retrying', 'dead', 'stale') and r.outcome <> c.state
           and c.state <> 'running'
         union all
         select c.route, c.event, 'a retrying claim without a retry'
         from claims c
         where c.state = 'retrying'
           and not exists (select from retries r
                           where r.event = c.event and r.route = c.route)
         union all
         select r.route, r.event, 'a retry of a claim that is not retrying'
         from retries r
         where not exists (select from claims c
                           where c.event = r.event and c.route = r.route
                             and c.state in ('retrying', 'running'))
         union all
         select c.route, c.event, 'a dead claim without a dead letter'
         from claims c
         where c.state = 'dead'
           and not exists (select from dead_letters d
                           where d.event = c.event and d.route = c.route
                             and d.state in ('dead', 'discarded'))
         union all
         select d.route, d.event, 'a dead letter of a claim that is not dead'
         from dead_letters d
         where d.state in ('dead', 'discarded')
           and not exists (select from claims c
                           where c.event = d.event and c.route = d.route
                             and c.state in ('dead', 'running'))
         union all
         select r.route, r.event, 'a receipt has number ' || r.number
                || ', and its ingest closed with number ' || closed.last
         from (select instance, max(last) as last from accounts
               group by instance having bool_or(closing)) closed
         join receipts r on r.instance = closed.instance and r.number > closed.last
         union all
         select r.route, r.event,
                'another receipt has the number ' || r.number || ' of the same ingest'
         from receipts r
         where exists (select from receipts o
                       where o.instance = r.instance and o.number = r.number
                         and o.receipt_id < r.receipt_id)
         limit $1) as found
         left join events on events.number = found.event",
    ))
    .bind(i64::from(limit))
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Imbalance {
                route: row.word("route", str::parse)?,
                event: row.event_or_none("event_id")?,
                what: row.try_get("what")?,
            })
        })
        .collect()
}
