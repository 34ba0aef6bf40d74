//! The trait that the author of an external effect implements.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{TargetLimits, TargetName};

use crate::{Call, CallError, Event, HandlerError, Json, Payload};

/// Makes an external call for each event of a route: an HTTP request, a message to another broker,
/// a file on another machine.
///
/// A call runs outside of any transaction, and without a connection of the database, so that slow
/// calls hold no locks. The store hands the event to the call for a limited time, the *lease*, and
/// the worker records how the call ended. A call that succeeded may be made again if its process
/// dies before that is recorded. So the receiver gets each event at least once, and recognises a
/// repetition by `Call::key`.
///
/// An effect works with both databases, because it has no access to them.
pub trait Effect: Send + Sync + 'static {
    /// The name of the effect in the config, in logs and on pages.
    const NAME: &'static str;

    /// The type into which the body is deserialized, as in a handler
    /// ([`crate::Handler::Payload`]). A call that sends the body as it was received uses
    /// [`serde::de::IgnoredAny`].
    type Payload: Payload;

    /// Returns the name of the target that the calls go to, such as a scheme and an authority:
    /// `https://crm.example.com`. All routes of all workers whose calls go to the same target share
    /// its limits and its circuit breaker.
    fn target(&self) -> &TargetName;

    /// Returns how many calls all workers together may make to the target. All routes whose calls
    /// go to the same target must have the same rate; a config in which they differ is refused.
    fn limits(&self) -> TargetLimits;

    /// Returns how long one call may take in all, at most ten minutes. After that time the call is
    /// dropped, which counts as a failed attempt. When a process dies, its calls are made again
    /// only after about this time, so a short limit is better than a long one.
    fn time_limit(&self) -> Duration;

    /// Returns whether the call may be made again for an event that is done, when an operator asks
    /// for that with `hookbox events replay`. The repeated call has another idempotency key
    /// (`Call::key`), so the receiver takes it for a new call. By default, an event that is done
    /// never runs again.
    fn is_repeatable(&self) -> bool {
        false
    }

    /// Makes the payload of an event, as [`crate::Handler::payload`] does.
    ///
    /// # Errors
    /// When the body does not fit the payload type. This is a permanent failure, and the call is
    /// not made.
    fn payload(&self, body: &Bytes, read: Option<Json>) -> Result<Self::Payload, HandlerError> {
        Self::Payload::of(body, read)
    }

    /// Makes the call. `?` makes any error transient (tried again); see [`CallError`] for the other
    /// classes. Many calls run at the same time.
    ///
    /// At the end of a drain, and at the time limit, the future is dropped at an `await`.
    fn call(
        &self,
        event: &Event<Self::Payload>,
        call: &Call,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
}
