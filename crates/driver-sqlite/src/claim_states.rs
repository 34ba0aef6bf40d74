//! Determines the valid state of a claim. The row of a claim may say done although the event is not
//! done, because a claim is inserted as done and a handler may commit it too early. The receipts of
//! the event show whether that has happened; see [`ClaimEvidence`].

use std::collections::HashMap;

use hookbox_driver::{ClaimEvidence, ClaimState, EventState, WaitingAttempt};
use hookbox_event::{ContentDigest, Envelope, EventId, EventNumber, RouteName};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::{Columns, hex_list};
use crate::moment;

/// The columns from which [`counted`] determines the valid state of the claim `c`. The subquery
/// finds the receipts by the index `receipts_event`.
macro_rules! evidence {
    () => {
        concat!(
            "c.state, c.attempts,
             exists (select 1 from receipts as ended
                     where ended.event = c.event and ended.route = c.route
                       and ended.outcome in ('done', 'conflict')) as has_end,
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
            " and not exists (select 1 from receipts as ended
                              where ended.event = c.event and ended.route = c.route
                                and ended.outcome in ('done', 'conflict')))"
        )
    };
}

pub(crate) use {evidence, orphaned};

/// Returns the valid state of a claim and its valid number of attempts, from the columns of
/// `evidence!`.
pub(crate) fn counted(row: &SqliteRow) -> sqlx::Result<(ClaimState, u32)> {
    let evidence = ClaimEvidence {
        state: row.claim_state("state")?,
        attempts: row.attempt("attempts")?,
        has_end: row.try_get("has_end")?,
        may_lack_receipts: row.try_get("may_lack_receipts")?,
    };
    Ok(evidence.counted())
}

/// The stored state of an event on one route.
pub(crate) struct StoredClaim {
    pub(crate) number: EventNumber,
    pub(crate) digest: ContentDigest,
    /// The valid state of the event on the route, and its valid number of attempts; `None` when the
    /// event has no claim there.
    pub(crate) claim: Option<(ClaimState, u32)>,
    /// The number of the last lease of the event on the route; 0 if there was none.
    pub(crate) epoch: u32,
    /// The attempt for which the event waits; `None` when it waits for none.
    pub(crate) retry: Option<WaitingAttempt>,
    /// Whether the event has a lease that has not ended.
    pub(crate) is_leased: bool,
}

impl StoredClaim {
    /// Returns the stored state of an event for one of its envelopes. This state decides how a
    /// failure or a deferral of the envelope is recorded.
    pub(crate) fn state(known: Option<&Self>, envelope: &Envelope) -> EventState {
        EventState {
            claim: known.and_then(|known| known.claim),
            is_same_body: known.is_none_or(|known| known.digest == envelope.digest),
            // While an external call for the event is in flight, only the end of that call may
            // change the state. So the event counts as waiting for no attempt here.
            waits_for: known
                .filter(|known| !known.is_leased)
                .and_then(|known| known.retry)
                .map(|retry| retry.attempt),
        }
    }
}

/// The statement of [`look_up`].
pub(crate) const LOOK_UP: &str = concat!(
    "select e.number, e.event_id, e.content_digest, c.event is not null as is_claimed, ",
    evidence!(),
    ", coalesce(c.epoch, 0) as epoch, r.attempt as retry_attempt, r.attempts_before,
            coalesce(r.deferred_attempt = r.attempt, 0)
                and r.queued_at is null and r.not_before > ?3 as is_put_off,
            coalesce(r.target is not null and r.leased_attempt = r.attempt, 0)
                and r.not_before > ?3 as is_leased
     from json_each(?2) as wanted
     cross join events as e on e.event_id = unhex(wanted.value)
     left join claims as c on c.route = ?1 and c.event = e.number
     left join retries as r on r.route = ?1 and r.event = e.number"
);

/// Returns what is stored of these events: the digest of the body, and on one route the claim and
/// the waiting attempt. Events that are not stored are missing from the result.
pub(crate) async fn look_up(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: impl IntoIterator<Item = &EventId>,
) -> sqlx::Result<HashMap<EventId, StoredClaim>> {
    let rows = sqlx::query(LOOK_UP)
        .bind(route.as_str())
        .bind(hex_list(events.into_iter().map(|event| event.as_bytes())))
        .bind(moment::now())
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok((row.event("event_id")?, stored_claim(row)?)))
        .collect()
}

fn stored_claim(row: &SqliteRow) -> sqlx::Result<StoredClaim> {
    let is_claimed: bool = row.try_get("is_claimed")?;
    let claim = is_claimed.then(|| counted(row)).transpose()?;
    let retry: Option<i64> = row.try_get("retry_attempt")?;
    let retry = match retry {
        Some(_) => Some(WaitingAttempt {
            attempt: row.attempt("retry_attempt")?,
            attempts_before: row.attempt("attempts_before")?,
            is_put_off: row.try_get("is_put_off")?,
        }),
        None => None,
    };
    Ok(StoredClaim {
        number: row.event_number("number")?,
        digest: row.digest("content_digest")?,
        claim,
        epoch: row.attempt("epoch")?,
        retry,
        is_leased: row
            .try_get::<Option<bool>, _>("is_leased")?
            .unwrap_or(false),
    })
}
