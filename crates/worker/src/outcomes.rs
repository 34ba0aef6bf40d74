//! Counts the outcomes that a transaction has committed, and logs the dead letters among them.

use hookbox_driver::{Outcome, ReceiptOutcome, Store};

use crate::counters::add;
use crate::route_context::RouteContext;

/// Counts committed outcomes, and the redelivered receipts of the same transaction that already had
/// an outcome.
pub(crate) fn count<S: Store>(
    context: &RouteContext<'_, S>,
    settled: &[ReceiptOutcome<'_>],
    redelivered: u64,
) {
    let (counters, route) = (context.counters, context.route);
    add(&counters.redelivered, redelivered);
    for ReceiptOutcome {
        outcome, envelope, ..
    } in settled
    {
        match outcome {
            Outcome::Done { .. } => {
                add(&counters.done, 1);
                has_succeeded(context);
            }
            Outcome::Duplicate => add(&counters.duplicate, 1),
            Outcome::Conflict { .. } => add(&counters.conflict, 1),
            Outcome::Stale => add(&counters.stale, 1),
            Outcome::Dead { reason, .. } => {
                add(&counters.dead, 1);
                tracing::warn!(
                    event.id = %envelope.event,
                    event.topic = %envelope.topic,
                    route = %route,
                    reason = reason.as_str(),
                    "event {} is a dead letter of route {route} ({}); see `hookbox dead list`",
                    envelope.event,
                    reason.as_str()
                );
            }
        }
    }
}

/// Records that a handler succeeded, which shows that the route lacks no right in the database.
fn has_succeeded<S: Store>(context: &RouteContext<'_, S>) {
    if context.counters.rights.succeed() {
        let route = context.route;
        tracing::info!(
            route = %route,
            "a handler of route {route} succeeded again; the route resumes"
        );
    }
}
