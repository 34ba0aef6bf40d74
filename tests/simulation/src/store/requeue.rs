//! Publishes due retries to the queues of their routes, as the drivers do: each retry is published
//! first and marked as queued afterwards.

use std::time::Duration;

use hookbox_driver::{DueRetry, Fault as OurFault, Republish, Requeued};
use hookbox_event::{Envelope, RouteName};

use crate::fault::Fault;
use crate::on_route::OnRoute;
use crate::tables::{Key, Retry, StoredOutcome, Tables};
use crate::tx::SimTx;
use crate::unavailable::unavailable;

pub(super) async fn requeue(
    mut tx: SimTx,
    limit: u32,
    republish: &dyn Republish,
) -> Result<Requeued, OurFault> {
    let process = std::sync::Arc::clone(&tx.process);
    let world = &process.world;
    tx.statement("lock due retries").await?;
    let due = {
        let mut state = world.state();
        let now = world.elapsed();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let takes = |on: &OnRoute| republish.routes().is_none_or(|it| it.contains(&on.0));
        let due = state.tables.due(now, limit).into_iter().filter(takes);
        let due: Vec<(OnRoute, DueRetry, Duration)> = due
            .filter_map(|on| {
                let not_before = state.tables.retries.get(&on)?.not_before;
                envelope(&state.tables, &on).map(|it| (on, it, not_before))
            })
            .collect();
        for ((route, event), ..) in &due {
            let key = Key::Retry(route.clone(), *event);
            state.tables.lock(key, tx.id);
        }
        due
    };
    if due.is_empty() {
        return Ok(Requeued::default());
    }
    let retries: Vec<&DueRetry> = due.iter().map(|(_, due, _)| due).collect();
    let is_confirmed = republish.republish(&retries).await;
    let published = due.iter().zip(is_confirmed).filter(|(_, it)| *it);
    let attempt_of = |due: &DueRetry| due.envelope.redo.map(|it| it.attempt);
    let confirmed: Vec<(OnRoute, Option<u32>, Duration)> = published
        .map(|((on, due, not_before), _)| (on.clone(), attempt_of(due), *not_before))
        .collect();
    let requeued = Requeued {
        due: u32::try_from(due.len()).unwrap_or(u32::MAX),
        confirmed: u32::try_from(confirmed.len()).unwrap_or(u32::MAX),
    };
    if confirmed.is_empty() {
        return Ok(requeued);
    }
    tx.statement("mark retries as queued").await?;
    if world.strikes(Fault::AbortedUnknown, &process.name) {
        return Err(unavailable("mark retries: the store gave no answer"));
    }
    {
        let mut state = world.state();
        let now = world.elapsed();
        for (on, attempt, not_before) in &confirmed {
            let retry = state.tables.retries.get_mut(on);
            let same =
                |it: &&mut Retry| Some(it.attempt) == *attempt && it.not_before == *not_before;
            if let Some(retry) = retry.filter(same) {
                retry.queued_at = Some(now);
            }
        }
        let text = format!("{} has requeued {} retries", process.name, confirmed.len());
        state.trace.note(&text);
    }
    tx.ended = true;
    world.abort(tx.id);
    let unknown = world.strikes(Fault::CommittedUnknown, &process.name);
    process.step("marked").await;
    if unknown {
        return Err(unavailable("mark retries: the store gave no answer"));
    }
    Ok(requeued)
}

/// Returns the message that is published for a retry: the envelope of the first receipt of its
/// event, with the stored body and the number of the attempt.
fn envelope(tables: &Tables, on: &OnRoute) -> Option<DueRetry> {
    let (route, event) = on;
    let retry = tables.retries.get(on)?;
    let first = tables
        .receipts
        .iter()
        .filter(|(key, it)| key.0 == *route && it.event == *event)
        .min_by_key(|(key, it)| {
            (
                it.word == StoredOutcome::Duplicate,
                it.envelope.received_at,
                key.1,
            )
        })?;
    let mut envelope = first.1.envelope.clone();
    let kept = tables.events.get(event)?;
    envelope.body = kept.body.clone();
    envelope.digest = kept.digest;
    Some(due_retry(route, envelope, retry.attempt))
}

/// Returns a retry as it is published to its route.
fn due_retry(route: &RouteName, envelope: Envelope, attempt: u32) -> DueRetry {
    let redo = Some(hookbox_event::Redo { attempt });
    DueRetry {
        route: route.clone(),
        envelope: Envelope { redo, ..envelope },
    }
}
