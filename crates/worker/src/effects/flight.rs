//! One call in flight, from its lease until it has ended. `end_writer` records how it ended.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hookbox_crash::crash_point;
use hookbox_driver::{CallEnd, Store, VersionedEvent, storable};
use hookbox_event::{EventNumber, Topic};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, timeout};

use super::BEGINS_WITHIN;
use super::registered::PreparedCall;
use super::route::{EffectRoute, Permit};
use super::settle_call::{CallCause, FailedCall, settle_call};
use crate::claimed_event::ClaimedEvent;
use crate::counters::Counted;
use crate::handler_failure::panic_text;
use crate::{Call, CallError};

/// An event that is leased, with the call that is to be made for it.
pub(crate) struct LeasedCall {
    pub event: ClaimedEvent,
    pub number: EventNumber,
    pub epoch: u32,
    /// The number of the effect. It is a part of the idempotency key.
    pub effect: u32,
    pub call: Box<dyn PreparedCall>,
    /// The key and the version of the event, on a route that applies only the newest event of each
    /// key.
    pub version: Option<VersionedEvent>,
    /// When the lease was requested. The store counts the lease from a later moment.
    pub requested: Instant,
}

/// A call that has ended. Dropping this value gives the permit for the call back.
pub(crate) struct EndedCall {
    pub end: CallEnd,
    pub topic: Topic,
    _permit: Permit,
}

/// Starts a call in a task of its own. Its end is sent to `ends`. If a drain is cut short, the call
/// is dropped, which counts as its end.
pub(crate) fn start<S: Store>(
    route: &Arc<EffectRoute<S>>,
    leased: LeasedCall,
    permit: Permit,
    ends: &UnboundedSender<EndedCall>,
) {
    let (route, ends) = (Arc::clone(route), ends.clone());
    route.calls.clone().spawn(async move {
        let topic = leased.event.envelope.topic.clone();
        let end = make(&route, leased).await;
        // Sending fails only after a drain was cut short. Then the lease ends by itself.
        let _ = ends.send(EndedCall {
            end,
            topic,
            _permit: permit,
        });
    });
}

/// Makes a call, and returns what is to be recorded about its end.
async fn make<S: Store>(route: &EffectRoute<S>, leased: LeasedCall) -> CallEnd {
    let LeasedCall {
        event,
        number,
        epoch,
        effect,
        call,
        version,
        requested,
    } = leased;
    let (config, inner) = (route.config(), &route.inner);
    let counters = inner.counters.routes.get(&config.name);
    let limit = route.effect.time_limit();
    let _running = counters.map(|counters| counters.running.start(limit));
    let _in_flight = counters.map(|counters| Counted::new(&counters.calls_in_flight, 1));
    let topic = event.envelope.topic.as_str();
    let identity = Call {
        key: Call::key(&event.envelope.event, &config.name, effect),
        epoch,
        attempt: event.attempt,
        route: config.name.clone(),
        traceparent: event.envelope.traceparent.clone(),
    };
    crash_point!("effect.before_call", topic);
    let calls = Instant::now();
    let end = if calls.duration_since(requested) > BEGINS_WITHIN {
        Err(not_made())
    } else {
        tokio::select! {
            biased;
            end = limited(call.call(&identity), limit) => end,
            () = inner.cut.cancelled() => Err(dropped()),
        }
    };
    let took = calls.elapsed();
    crash_point!("effect.after_call", topic);
    let failed = end.as_ref().err();
    let target_error = failed.and_then(|failed| failed.target_error.clone());
    let (attempt, chance) = (event.attempt_of_round(), inner.rng.unit());
    let (result, answer) = settle_call(end, attempt, &config.retry, chance);
    CallEnd {
        event: event.envelope.event,
        number,
        attempt: event.attempt,
        attempts_before: event.attempts_before,
        epoch,
        took,
        result,
        answer,
        target_error,
        version,
    }
}

/// Runs a call until it returns, panics or exceeds its time limit.
async fn limited(
    call: impl Future<Output = Result<(), CallError>>,
    limit: Duration,
) -> Result<(), FailedCall> {
    match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(returned(&error)),
        Ok(Err(panic)) => Err(panicked(&*panic)),
        Err(_elapsed) => Err(FailedCall {
            cause: CallCause::TimedOut,
            error: format!("the call took longer than its time limit of {limit:?}"),
            target_error: None,
        }),
    }
}

fn returned(error: &CallError) -> FailedCall {
    FailedCall {
        cause: CallCause::Returned(error.class),
        error: storable(&error.text()).into_owned(),
        target_error: error
            .target_error()
            .map(|error| storable(&error.replace('\n', " ")).into_owned()),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> FailedCall {
    let error = format!("the effect panicked: {}", panic_text(panic));
    FailedCall {
        cause: CallCause::Panicked,
        error: storable(&error).into_owned(),
        target_error: None,
    }
}

fn not_made() -> FailedCall {
    FailedCall {
        cause: CallCause::NotMade,
        error: format!(
            "the call was not made, because it could not begin within {BEGINS_WITHIN:?} of its \
             lease"
        ),
        target_error: None,
    }
}

fn dropped() -> FailedCall {
    FailedCall {
        cause: CallCause::Dropped,
        error:
            "the call still ran at the end of a drain and was dropped; whether it had its effect \
                is not known"
                .to_owned(),
        target_error: None,
    }
}
