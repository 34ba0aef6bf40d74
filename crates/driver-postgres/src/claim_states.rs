//! Determines the valid state of a claim. The row of a claim may say done although the event is not
//! done, because a claim is inserted as done and a handler may commit it too early. The receipts of
//! the event show whether that has happened; see [`ClaimEvidence`].

use hookbox_driver::{ClaimEvidence, ClaimState, EventState};
use hookbox_event::{Envelope, EventId, EventNumber, RouteName};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, claim_state, numbers, uuid};
use crate::{events, retries};

/// The columns from which [`counted`] determines the valid state of the claim `c`. The subquery
/// finds the receipts by the index `receipts_event`. It counts them instead of using `exists`,
/// which PostgreSQL may evaluate with a hash of the whole table.
macro_rules! evidence {
    () => {
        concat!(
            "c.state, c.attempts,
             (select count(*) from receipts ended
              where ended.event = c.event and ended.route = c.route
                and ended.outcome in ('done', 'conflict')) > 0 as has_end,
             c.event < ",
            $crate::meta::receipts_kept_from!(),
            " as may_lack_receipts"
        )
    };
}

/// The SQL condition under which the valid state of the claim `c` is running although it is stored
/// as done. The statements of lists use it. It must agree with [`ClaimEvidence::counted`].
macro_rules! orphaned {
    () => {
        concat!(
            "(c.state = 'done'
              and c.event >= ",
            $crate::meta::receipts_kept_from!(),
            " and (select count(*) from receipts ended
                   where ended.event = c.event and ended.route = c.route
                     and ended.outcome in ('done', 'conflict')) = 0)"
        )
    };
}

pub(crate) use {evidence, orphaned};

/// Returns the valid state of a claim and its valid number of attempts, from the columns of
/// `evidence!`.
pub(crate) fn counted(row: &PgRow) -> Result<(ClaimState, u32), Error> {
    let evidence = ClaimEvidence {
        state: row.known("state", claim_state)?,
        attempts: row.attempt("attempts")?,
        has_end: row.try_get("has_end")?,
        may_lack_receipts: row.try_get("may_lack_receipts")?,
    };
    Ok(evidence.counted())
}

/// What the store knows about an envelope whose event could not be claimed.
pub(crate) struct StoredClaim {
    pub event: EventId,
    pub number: EventNumber,
    /// Whether the envelope's receipt already has an outcome.
    pub settled: bool,
    /// Whether the stored event has the same digest as the envelope. If not, the envelope is a
    /// conflict.
    pub same: bool,
    /// The valid state of the event on the route; `None` when the event has no claim there.
    pub state: Option<ClaimState>,
    pub transaction: String,
}

/// Looks up what is stored about envelopes whose events could not be claimed. A subquery finds each
/// receipt by its key. With a join, a plan from when the table was small could read all receipts of
/// the route.
pub(crate) async fn look_up(
    c: &mut PgConnection,
    route: &RouteName,
    envelopes: &[&Envelope],
) -> Result<Vec<StoredClaim>, Error> {
    let ids: Vec<&[u8; 16]> = envelopes.iter().map(|e| e.event.as_bytes()).collect();
    let digests: Vec<&[u8; 32]> = envelopes.iter().map(|e| e.digest.as_bytes()).collect();
    let receipts: Vec<_> = envelopes
        .iter()
        .map(|e| uuid(e.receipt.as_bytes()))
        .collect();
    let rows = sqlx::query(concat!(
        "select wanted.event_id,
                events.number,
                events.content_digest = wanted.digest as same,
                c.event is not null as is_claimed, ",
        evidence!(),
        ",
                (select true from receipts
                 where receipts.route = $1 and receipts.receipt_id = wanted.receipt_id)
                    is not null as settled,
                pg_current_xact_id()::text as transaction
         from unnest($2::bytea[], $3::bytea[], $4::uuid[])
             as wanted (event_id, digest, receipt_id)
         join events on events.event_id = wanted.event_id
         left join claims c on c.event = events.number and c.route = $1",
    ))
    .bind(route.as_str())
    .bind(ids)
    .bind(digests)
    .bind(receipts)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let is_claimed: bool = row.try_get("is_claimed")?;
            let state = is_claimed.then(|| counted(row)).transpose()?;
            Ok(StoredClaim {
                event: row.event("event_id")?,
                number: row.number("number")?,
                settled: row.try_get("settled")?,
                same: row.try_get("same")?,
                state: state.map(|(state, _)| state),
                transaction: row.try_get("transaction")?,
            })
        })
        .collect()
}

/// A claim that this transaction has locked.
pub(crate) struct LockedClaim {
    pub event: EventId,
    pub number: EventNumber,
    /// The valid state of the event on the route.
    pub state: ClaimState,
    /// The valid number of attempts of the claim.
    pub attempts: u32,
    /// The number of the last lease of the event on the route; 0 if there was none.
    pub epoch: u32,
    pub transaction: String,
}

/// Locks claims in the order of the numbers of their events. Returns the state of each claim, and
/// the number that PostgreSQL gave this transaction. Waits for other transactions that hold one of
/// the claims.
pub(crate) async fn lock(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<Vec<LockedClaim>, Error> {
    let mut locked = lock_rows(c, route, events).await?;
    let done = locked.iter().filter(|it| it.state == ClaimState::Done);
    let done: Vec<EventNumber> = done.map(|it| it.number).collect();
    if done.is_empty() {
        return Ok(locked);
    }
    // This must be a separate statement, because the claims and their receipts may have changed
    // while this transaction waited for the locks.
    let rows = sqlx::query(concat!(
        "select c.event as number, ",
        evidence!(),
        " from claims c where c.route = $1 and c.event = any ($2)"
    ))
    .bind(route.as_str())
    .bind(numbers(&done))
    .fetch_all(c)
    .await?;
    for row in &rows {
        let number = row.number("number")?;
        let (state, attempts) = counted(row)?;
        for claim in locked.iter_mut().filter(|it| it.number == number) {
            (claim.state, claim.attempts) = (state, attempts);
        }
    }
    Ok(locked)
}

async fn lock_rows(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<Vec<LockedClaim>, Error> {
    let ids: Vec<&[u8; 16]> = events.iter().map(EventId::as_bytes).collect();
    let rows = sqlx::query(
        "select e.event_id, c.event as number, c.state, c.attempts, coalesce(c.epoch, 0) as epoch,
                pg_current_xact_id()::text as transaction
         from events e join claims c on c.event = e.number and c.route = $1
         where e.event_id = any ($2)
         order by c.event
         for update of c",
    )
    .bind(route.as_str())
    .bind(ids)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(LockedClaim {
                event: row.event("event_id")?,
                number: row.number("number")?,
                state: row.known("state", claim_state)?,
                attempts: row.attempt("attempts")?,
                epoch: row.attempt("epoch")?,
                transaction: row.try_get("transaction")?,
            })
        })
        .collect()
}

/// Returns the stored state of an event whose claim is locked. This state decides how a failure or
/// a deferral of the envelope is recorded. Further rows are read only where the state of the claim
/// requires them.
pub(crate) async fn event_state(
    c: &mut PgConnection,
    route: &RouteName,
    envelope: &Envelope,
    locked: &LockedClaim,
) -> Result<EventState, Error> {
    let mut stored = EventState {
        claim: Some((locked.state, locked.attempts)),
        is_same_body: true,
        waits_for: None,
    };
    match locked.state {
        ClaimState::Running => {
            let event = events::one(c, &envelope.event).await?;
            stored.is_same_body = event.is_none_or(|event| event.digest == envelope.digest);
        }
        ClaimState::Retrying => {
            let waiting = retries::waiting(c, route, &[locked.number]).await?;
            // While an external call for the event is in flight, only the end of that call may
            // change the state. So the event counts as waiting for no attempt here.
            let waiting = waiting.first().filter(|retry| !retry.is_leased);
            stored.waits_for = waiting.map(|retry| retry.waiting.attempt);
        }
        ClaimState::Done | ClaimState::Dead | ClaimState::Stale => {}
    }
    Ok(stored)
}
