//! Makes the call of an effect for a sample event, for the tests of its author.

use std::fmt;

use hookbox_driver::describe;
use hookbox_event::{EventNumber, RouteName};

use crate::call_error::CallClass;
use crate::effects::registered::ReadiedCall;
use crate::handler_failure::{Unready, panic_text};
use crate::{Call, Effect, Event, Json, Sample, register_effect};

/// Why the call for a sample did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallRehearsalError {
    /// The body is not JSON. A worker makes such an event a dead letter, without a call.
    #[error("the body of the sample is not JSON: {0}")]
    NotJson(String),
    /// The payload could not be made, so the call was not made.
    #[error("the payload could not be made: {0}")]
    NoPayload(String),
    /// The call failed.
    #[error("the call failed ({then}): {error}")]
    Failed {
        /// What would become of the event.
        then: AfterCall,
        /// The error and its causes.
        error: String,
    },
}

/// What follows from the failure of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCall {
    /// The event is tried again, and the failure counts as an attempt.
    Retry,
    /// The event becomes a dead letter at once.
    DeadLetter,
    /// The event waits, and the failure costs no attempt.
    Wait,
}

impl fmt::Display for AfterCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AfterCall::Retry => "the event would be tried again",
            AfterCall::DeadLetter => "the event would be a dead letter at once",
            AfterCall::Wait => "the event would wait, and no attempt would be counted",
        })
    }
}

/// Makes the payload of a sample and then the call, as a worker does for the first attempt on an
/// event. Returns the identity of the call, so that a test can compare it with what the receiver
/// got.
///
/// # Errors
/// When the call is not made or fails.
///
/// # Panics
/// When the effect panics in its call.
pub async fn rehearse_call<E: Effect>(
    effect: E,
    sample: impl Into<Sample>,
) -> Result<Call, CallRehearsalError> {
    let not_json = |error: hookbox_event::JsonError| CallRehearsalError::NotJson(error.to_string());
    let envelope = sample.into().envelope(1).map_err(not_json)?;
    let read = Json::read(&envelope.body).map_err(not_json)?;
    let route: RouteName = "rehearsal"
        .parse()
        .expect("the name of the route must be valid");
    let call = Call {
        key: Call::key(&envelope.event, &route, 1),
        epoch: 1,
        attempt: 1,
        route,
        traceparent: envelope.traceparent.clone(),
    };
    let event = Event::of(&envelope, EventNumber::from_i64(1), (1, 1), Some(read));
    let ReadiedCall(readied) = register_effect(effect).prepare(event);
    let prepared = readied.map_err(|why| {
        CallRehearsalError::NoPayload(match why {
            Unready::Returned(error) => describe(error.cause()),
            Unready::Panicked(panic) => format!("the effect panicked: {}", panic_text(&*panic)),
        })
    })?;
    prepared.call(&call).await.map_err(|error| {
        let then = match error.class {
            CallClass::Transient { .. } | CallClass::Unanswered => AfterCall::Retry,
            CallClass::Permanent => AfterCall::DeadLetter,
            CallClass::Busy { .. } | CallClass::TargetFault => AfterCall::Wait,
        };
        let error = error.text();
        CallRehearsalError::Failed { then, error }
    })?;
    Ok(call)
}
