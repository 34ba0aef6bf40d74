//! Writes what belongs to an event but not to its own transaction: a failed attempt, a deferral, or
//! bytes that are not an envelope. Each write is repeated until it succeeds, also through an
//! outage.

use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{
    DeadReason, DeferReason, Deferral, Deferred, Failure, FailureClass, Recorded, Store, Then,
    UndecodableMessage,
};
use hookbox_event::{EventId, Topic};

use crate::attempt_error::FailedAttempt;
use crate::claimed_event::ClaimedEvent;
use crate::counters::add;
use crate::intake::Undecodable;
use crate::pause::Stopped;
use crate::route_context::RouteContext;

/// The shortest wait of a deferred event. The lock or the right that the event needs may be
/// available again after this time.
const DEFERRED_LEAST: Duration = Duration::from_secs(1);

/// The longest wait of a deferred event. If the event waits for a lock, this is also the longest
/// time until the release of the lock is noticed.
const DEFERRED_MOST: Duration = Duration::from_secs(60);

/// The attempt that a record is about, for counters and logs.
#[derive(Clone, Copy)]
pub(crate) struct Attempted<'a> {
    pub event: &'a EventId,
    pub topic: &'a Topic,
    pub attempt: u32,
}

/// How long a deferred event waits; see [`Deferral`].
#[derive(Clone, Copy)]
pub(crate) struct DeferralWait {
    pub least: Duration,
    pub most: Duration,
    pub age_max: Option<Duration>,
}

/// Stores bytes that are not an envelope as a dead letter.
pub(crate) async fn undecodable<S: Store>(
    context: &RouteContext<'_, S>,
    undecodable: &Undecodable,
) -> Result<(), Stopped> {
    let route = context.route;
    let message = UndecodableMessage::new(
        &context.inner.config.digester,
        route,
        &undecodable.bytes,
        DeadReason::Undecodable,
        format!("not an envelope: {}", undecodable.why),
    );
    let write = || {
        crash_point!("worker.before_record");
        context.store().store_undecodable(&message)
    };
    let recorded = context.until_done(write).await?;
    crash_point!("worker.after_record");
    let bytes = undecodable.bytes.len();
    match recorded {
        Recorded::Recorded => {
            add(&context.counters.dead, 1);
            tracing::error!(
                route = %route,
                bytes,
                "bytes that are not an envelope came out of the queue of route {route}; they are \
                 kept as a dead letter"
            );
        }
        // The dead letter was counted when it was stored.
        Recorded::Superseded => tracing::warn!(
            route = %route,
            bytes,
            "bytes that are not an envelope came out of the queue of route {route}; the same bytes \
             were stored as a dead letter before, so nothing is added"
        ),
    }
    Ok(())
}

/// Defers an event on which the handler failed, if the event itself is not the cause.
pub(crate) async fn deferral<S: Store>(
    context: &RouteContext<'_, S>,
    failed: &FailedAttempt,
    reason: DeferReason,
) -> Result<Deferred, Stopped> {
    let wait = DeferralWait {
        least: DEFERRED_LEAST.mul_f64(0.5 + context.inner.rng.unit()),
        most: DEFERRED_MOST,
        age_max: age_max(context, failed, reason),
    };
    put_off(context, &failed.event, reason, wait, None).await
}

/// Defers an event that is not tried, because its route is paused for a missing right. The event
/// may be deferred without limit, because it cannot be the cause.
pub(crate) async fn untried<S: Store>(
    context: &RouteContext<'_, S>,
    event: &ClaimedEvent,
) -> Result<Deferred, Stopped> {
    let wait = DeferralWait {
        least: DEFERRED_LEAST.mul_f64(0.5 + context.inner.rng.unit()),
        most: DEFERRED_MOST,
        age_max: None,
    };
    put_off(context, event, DeferReason::MissingRight, wait, None).await
}

/// Defers an event: it waits in the store for its next run, and no attempt is counted. Its message
/// is settled, so the route continues with other events. `target_error` is for the log, as in
/// [`count_deferral`].
pub(crate) async fn put_off<S: Store>(
    context: &RouteContext<'_, S>,
    event: &ClaimedEvent,
    reason: DeferReason,
    wait: DeferralWait,
    target_error: Option<&str>,
) -> Result<Deferred, Stopped> {
    let deferral = Deferral {
        route: context.route,
        envelope: &event.envelope,
        attempt: event.attempt,
        attempts_before: event.attempts_before,
        other_digest: event.other_digest,
        reason,
        least: wait.least,
        most: wait.most,
        age_max: wait.age_max,
    };
    let write = || {
        crash_point!("worker.before_record");
        context.store().defer(&deferral)
    };
    let deferred = context.until_done(write).await?;
    crash_point!("worker.after_record");
    match deferred {
        Deferred::Recorded => {
            count_deferral(context, Attempted::of(event), reason, target_error);
        }
        Deferred::Superseded | Deferred::Expired => {}
    }
    Ok(deferred)
}

/// Returns for how long in total the event may be deferred, or `None` if there is no limit. For a
/// missing right, this function also counts the denied event, and pauses the route after several of
/// them.
fn age_max<S: Store>(
    context: &RouteContext<'_, S>,
    failed: &FailedAttempt,
    reason: DeferReason,
) -> Option<Duration> {
    match reason {
        // All but two are reasons of external calls, and never of a handler.
        DeferReason::ForeignLock
        | DeferReason::Leased
        | DeferReason::TargetFault
        | DeferReason::TargetBusy
        | DeferReason::TargetClosed
        | DeferReason::RateLimit => return None,
        DeferReason::MissingRight => {}
    }
    let (rights, route) = (&context.counters.rights, context.route);
    let remedy = failed.failure.remedy.as_deref();
    if rights.deny(failed.event.envelope.event, remedy) {
        tracing::error!(
            route = %route,
            remedy = remedy.unwrap_or("unknown"),
            "route {route} is paused: the database denies its handler a right or an object that \
             every event needs; the events wait and lose no attempt, and one event at a time is \
             tried until one succeeds"
        );
    }
    rights.age_max()
}

/// Records a failed attempt and what follows from it.
pub(crate) async fn failure<S: Store>(
    context: &RouteContext<'_, S>,
    failed: &FailedAttempt,
    class: FailureClass,
    then: Then,
) -> Result<Recorded, Stopped> {
    let failure = failure_of(context, failed, class, then);
    record_failure(context, &failed.event, &failure).await
}

/// Records an attempt that counts as failed only because its deferral has expired, and what follows
/// from it.
pub(crate) async fn expired_deferral<S: Store>(
    context: &RouteContext<'_, S>,
    failed: &FailedAttempt,
    class: FailureClass,
    then: Then,
) -> Result<Recorded, Stopped> {
    let failure = Failure {
        is_expired_deferral: true,
        ..failure_of(context, failed, class, then)
    };
    record_failure(context, &failed.event, &failure).await
}

fn failure_of<'a, S: Store>(
    context: &RouteContext<'a, S>,
    failed: &'a FailedAttempt,
    class: FailureClass,
    then: Then,
) -> Failure<'a> {
    let event = &failed.event;
    Failure {
        route: context.route,
        envelope: &event.envelope,
        attempt: event.attempt,
        attempts_before: event.attempts_before,
        other_digest: event.other_digest,
        class,
        error: failed.failure.error.clone(),
        took: failed.took,
        then,
        is_expired_deferral: false,
    }
}

async fn record_failure<S: Store>(
    context: &RouteContext<'_, S>,
    event: &ClaimedEvent,
    failure: &Failure<'_>,
) -> Result<Recorded, Stopped> {
    let write = || {
        crash_point!("worker.before_record");
        context.store().fail(failure)
    };
    let recorded = context.until_done(write).await?;
    crash_point!("worker.after_record");
    match recorded {
        Recorded::Recorded => {
            count_failure(context, Attempted::of(event), failure.class, failure.then);
        }
        Recorded::Superseded => {}
    }
    Ok(recorded)
}

/// Counts a recorded failure, and logs what follows from it.
pub(crate) fn count_failure<S: Store>(
    context: &RouteContext<'_, S>,
    of: Attempted<'_>,
    class: FailureClass,
    then: Then,
) {
    let (route, attempt) = (context.route, of.attempt);
    match then {
        Then::Retry { after } => {
            add(&context.counters.retrying, 1);
            tracing::info!(
                event.id = %of.event,
                event.topic = %of.topic,
                route = %route,
                attempt,
                class = class.as_str(),
                after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                "attempt {attempt} on event {} failed ({}); the event will be tried again",
                of.event,
                class.as_str()
            );
        }
        Then::Dead { reason } => {
            add(&context.counters.dead, 1);
            tracing::warn!(
                event.id = %of.event,
                event.topic = %of.topic,
                route = %route,
                attempt,
                class = class.as_str(),
                reason = reason.as_str(),
                "event {} is a dead letter of route {route} ({}) after {attempt} attempts; see \
                 `hookbox dead list`",
                of.event,
                reason.as_str()
            );
        }
    }
}

/// Counts a recorded deferral, and logs it. `target_error` says why the target was not reached, if
/// a call has shown that.
pub(crate) fn count_deferral<S: Store>(
    context: &RouteContext<'_, S>,
    of: Attempted<'_>,
    reason: DeferReason,
    target_error: Option<&str>,
) {
    let (route, attempt) = (context.route, of.attempt);
    add(&context.counters.deferred, 1);
    tracing::info!(
        event.id = %of.event,
        event.topic = %of.topic,
        route = %route,
        attempt,
        reason = reason.as_str(),
        error = target_error,
        "event {} is deferred on route {route} ({}); this costs it no attempt",
        of.event,
        reason.as_str()
    );
}

impl<'a> Attempted<'a> {
    fn of(event: &'a ClaimedEvent) -> Self {
        Self {
            event: &event.envelope.event,
            topic: &event.envelope.topic,
            attempt: event.attempt,
        }
    }
}
