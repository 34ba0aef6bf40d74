//! Decides what becomes of the events that a transaction has claimed.

use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, Outcome, Store};

use crate::attempt_error::AttemptError;
use crate::claimed_event::ClaimedEvent;
use crate::handler_failure::HandlerFailure;
use crate::route_context::RouteContext;
use crate::stale_events::{self, Superseded};
use crate::verdict::{Verdict, verdict};
use crate::work::Work;
use crate::{Event, Json};

/// The decisions about all events of a transaction.
pub(crate) struct Decisions<'t> {
    /// The outcome of each event. That of an event in `to_handle` holds only if the event does not
    /// leave the transaction.
    pub outcomes: Vec<Outcome>,
    /// The events on which the handler runs.
    pub to_handle: Vec<(&'t ClaimedEvent, Event<Option<Json>>)>,
    /// The stale events that leave the transaction if the newer ones do.
    pub superseded: Superseded,
}

/// Decides for each event whether the handler runs on it, or which outcome it has without a run.
pub(crate) async fn decide<'t, S: Store>(
    context: &RouteContext<'_, S>,
    work: Work<'_, S>,
    tx: &mut S::Tx,
    events: &'t [ClaimedEvent],
) -> Result<Decisions<'t>, AttemptError> {
    let mut verdicts = Vec::with_capacity(events.len());
    for event in events {
        verdicts.push(classify(context, work, event)?);
    }
    let superseded = stale_events::end_stale(context, tx, &mut verdicts).await?;
    let mut outcomes = Vec::with_capacity(events.len());
    let mut to_handle = Vec::with_capacity(events.len());
    for (event, verdict) in events.iter().zip(verdicts) {
        match verdict {
            Verdict::Ends(outcome) => outcomes.push(outcome),
            Verdict::Runs { .. } if !work.may_run() => return Err(must_run().into()),
            Verdict::Runs { read, .. } => {
                let number = context.number(tx, &event.envelope.event)?;
                let attempt = (event.attempt, event.round());
                to_handle.push((event, Event::of(&event.envelope, number, attempt, read)));
                outcomes.push(Outcome::Done {
                    attempt: event.attempt,
                });
            }
        }
    }
    Ok(Decisions {
        outcomes,
        to_handle,
        superseded,
    })
}

/// Returns the fault that the handler must run on an event although it may not run now. A moment
/// ago it would not have run. Another transaction has changed that, so the event is claimed again.
fn must_run() -> Fault {
    let doing = "bring an event to an outcome without a run of its handler";
    Fault::plain(FaultKind::Contention, doing)
}

/// Decides whether the handler runs on an event. It does not run on an event that is orphaned or
/// given up, or to which [`verdict`] gives an outcome.
fn classify<S: Store>(
    context: &RouteContext<'_, S>,
    work: Work<'_, S>,
    event: &ClaimedEvent,
) -> Result<Verdict, AttemptError> {
    if event.is_orphaned {
        let failure = HandlerFailure::orphaned();
        return Err(AttemptError::handler(event, failure, Duration::ZERO));
    }
    Ok(match work {
        Work::Handle { route, handler, .. } => {
            let config = &context.inner.config;
            let rule = context.newest(route);
            verdict(config, event, handler.builds_payload(), rule)
        }
        Work::GiveUp { reason, detail } => Verdict::Ends(Outcome::Dead {
            reason,
            detail: detail.to_owned(),
        }),
    })
}
