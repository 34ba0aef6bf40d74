//! Gives effects of any payload type one interface.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{TargetLimits, TargetName};

use crate::handler_failure::Unready;
use crate::time_limits::CALL_TIME_LIMIT_MAX;
use crate::{Call, CallError, Effect, Event, Json, Payload};

/// An effect with any payload type. Only [`register_effect`] creates one.
pub trait DynEffect: Send + Sync + 'static {
    /// [`Effect::NAME`].
    fn name(&self) -> &'static str;

    /// [`Effect::target`].
    fn target(&self) -> &TargetName;

    /// [`Effect::limits`].
    fn limits(&self) -> TargetLimits;

    /// [`Effect::time_limit`].
    fn time_limit(&self) -> Duration;

    /// [`Effect::is_repeatable`].
    fn is_repeatable(&self) -> bool;

    /// Whether the effect's payload needs the values of the body; see
    /// [`crate::DynHandler::builds_payload`].
    fn builds_payload(&self) -> bool;

    /// Makes the payload of an event. The event contains its body as JSON if the body was read
    /// already.
    fn prepare(&self, event: Event<Option<Json>>) -> ReadiedCall;
}

/// An effect in the form in which a route holds it.
pub type RegisteredEffect = Arc<dyn DynEffect>;

/// The call for an event whose payload was made, or why the payload could not be made.
pub struct ReadiedCall(pub(crate) Result<Box<dyn PreparedCall>, Unready>);

/// A call that is ready to be made.
#[async_trait]
pub(crate) trait PreparedCall: Send + Sync {
    /// [`Effect::call`].
    async fn call(&self, call: &Call) -> Result<(), CallError>;
}

/// Converts an effect into the form that a route holds.
pub fn register_effect<E: Effect>(effect: E) -> RegisteredEffect {
    Arc::new(Typed(Arc::new(effect)))
}

struct Typed<E>(Arc<E>);

/// The call for an event with a payload of the effect's own type.
struct TypedCall<E: Effect> {
    effect: Arc<E>,
    event: Event<E::Payload>,
}

impl<E: Effect> DynEffect for Typed<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn target(&self) -> &TargetName {
        self.0.target()
    }

    fn limits(&self) -> TargetLimits {
        self.0.limits()
    }

    fn time_limit(&self) -> Duration {
        self.0.time_limit().min(CALL_TIME_LIMIT_MAX)
    }

    fn is_repeatable(&self) -> bool {
        self.0.is_repeatable()
    }

    fn builds_payload(&self) -> bool {
        E::Payload::is_built()
    }

    fn prepare(&self, event: Event<Option<Json>>) -> ReadiedCall {
        let made = || event.try_map(|body, read| self.0.payload(body, read));
        let made: Result<_, Box<dyn Any + Send>> = std::panic::catch_unwind(AssertUnwindSafe(made));
        ReadiedCall(match made {
            Ok(Ok(event)) => {
                let effect = Arc::clone(&self.0);
                Ok(Box::new(TypedCall { effect, event }))
            }
            Ok(Err(error)) => Err(Unready::Returned(error)),
            Err(panic) => Err(Unready::Panicked(panic)),
        })
    }
}

#[async_trait]
impl<E: Effect> PreparedCall for TypedCall<E> {
    async fn call(&self, call: &Call) -> Result<(), CallError> {
        self.effect.call(&self.event, call).await
    }
}
