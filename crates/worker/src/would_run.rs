//! Finds out whether the handler would run on an event now, without running it.

use hookbox_driver::{Fault, FaultKind, Store, VersionStanding};
use hookbox_event::Envelope;

use crate::claimed_event::{ClaimSet, ClaimedEvent};
use crate::claims::claim;
use crate::newest_rule::NewestRule;
use crate::route_context::RouteContext;
use crate::{Json, newest, stale_events};

/// Returns whether the handler would run for an envelope now: see [`event_to_run`].
pub(crate) async fn would_run<S: Store>(
    context: &RouteContext<'_, S>,
    rule: Option<NewestRule<'_>>,
    envelope: &Envelope,
) -> Result<bool, Fault> {
    let event = event_to_run(context, rule, envelope).await?;
    Ok(event.is_some())
}

/// Returns the event on which the handler would run for an envelope now; `None` if the handler
/// would not run. To find out, this function claims the event and rolls back. If another process
/// has the event in flight, perhaps through a copy of the message, the claim waits for that
/// process. The caller sets a start marker only after this function has returned. So a process that
/// only waits has set none, and if it ends, no marker can be taken for a death caused by the event.
///
/// `rule` is set if the route applies only the newest event of each key. The body is not checked
/// against its JSON Schema: the attempt does that, after the start marker is set, so that a body
/// whose check ends the process is found, too.
pub(crate) async fn event_to_run<S: Store>(
    context: &RouteContext<'_, S>,
    rule: Option<NewestRule<'_>>,
    envelope: &Envelope,
) -> Result<Option<ClaimedEvent>, Fault> {
    let store = context.store();
    let mut tx = store.begin().await?;
    let event = in_transaction(context, &mut tx, rule, envelope).await;
    store.rollback(tx).await;
    event
}

async fn in_transaction<S: Store>(
    context: &RouteContext<'_, S>,
    tx: &mut S::Tx,
    rule: Option<NewestRule<'_>>,
    envelope: &Envelope,
) -> Result<Option<ClaimedEvent>, Fault> {
    let none = || {
        Fault::plain(
            FaultKind::Internal,
            "claim: the store returned no claim for the envelope",
        )
    };
    let claimed = claim(context, tx, &[envelope]).await?.pop();
    let claimed = claimed.ok_or_else(none)?;
    if !claimed.would_run(&context.inner.config) {
        return Ok(None);
    }
    let mut claims = ClaimSet::default();
    claims.add(claimed);
    let Some(event) = claims.events.pop() else {
        return Ok(None);
    };
    let Some(rule) = rule else {
        return Ok(Some(event));
    };
    // The attempt makes a dead letter of an event without a readable version.
    let Ok(body) = Json::read(&event.envelope.body) else {
        return Ok(None);
    };
    let Ok(version) = newest::read(rule, &event, &body) else {
        return Ok(None);
    };
    let standings = stale_events::compare(context, tx, &[version]).await?;
    match standings.first() {
        Some(VersionStanding::Current) => Ok(Some(event)),
        Some(VersionStanding::Stale) | None => Ok(None),
        Some(VersionStanding::Busy) => Err(stale_events::busy()),
    }
}
