//! The effect `forward`: posts each event of a route, signed, to a service of the user.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Clock, InvalidTargetName, TargetLimits, TargetName};
use hookbox_forward::{CallClass, Client, IdempotencyKey, ReadSecret, Resolve};
use hookbox_worker::{Call, CallError, Effect, Event};
use serde::de::IgnoredAny;

use crate::call_limits::{self, InvalidLimits};

pub use hookbox_forward::Settings;

/// The name of the effect in the config.
pub const NAME: &str = "forward";

/// How much longer the worker waits for a call than the HTTP client does. So the client gives up
/// first, and its error is recorded, which says what took too long.
const TIME_LIMIT_MARGIN: Duration = Duration::from_secs(1);

/// The effect that posts events to one service.
pub struct Forward {
    client: Client,
    target: TargetName,
    limits: TargetLimits,
    is_repeatable: bool,
    clock: Arc<dyn Clock>,
}

/// Why the effect cannot be made from its settings. The text says what to change, and contains no
/// secret.
#[derive(Debug, thiserror::Error)]
pub enum InvalidForward {
    /// The HTTP client cannot be made from the settings.
    #[error(transparent)]
    Client(#[from] hookbox_forward::InvalidSettings),
    /// The limits cannot be used.
    #[error(transparent)]
    Limits(#[from] InvalidLimits),
    /// The host of the URL is too long for the name of a target.
    #[error("url: {0}")]
    Target(#[from] InvalidTargetName),
}

impl Forward {
    /// Creates the effect from its settings, without opening a connection. A relative path in the
    /// settings is relative to `folder`, the folder of the config file.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(
        settings: &Settings,
        folder: &Path,
        read_secret: ReadSecret<'_>,
        resolve: Arc<dyn Resolve>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidForward> {
        let limits = call_limits::read(settings.concurrency, settings.rate)?;
        let client = Client::new(settings, folder, read_secret, resolve)?;
        Ok(Self {
            target: client.target().parse()?,
            client,
            limits,
            is_repeatable: settings.repeatable,
            clock,
        })
    }
}

impl Effect for Forward {
    const NAME: &'static str = NAME;
    // The body is sent as it was received, so no payload is built from it.
    type Payload = IgnoredAny;

    fn target(&self) -> &TargetName {
        &self.target
    }

    fn limits(&self) -> TargetLimits {
        self.limits
    }

    fn time_limit(&self) -> Duration {
        self.client.limits().total + TIME_LIMIT_MARGIN
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    async fn call(&self, event: &Event<IgnoredAny>, call: &Call) -> Result<(), CallError> {
        let key = IdempotencyKey::new(call.key.as_str()).map_err(CallError::permanent)?;
        let call = hookbox_forward::Call {
            key,
            topic: event.topic.clone(),
            attempt: call.attempt,
            epoch: call.epoch,
            traceparent: call.traceparent.clone(),
            body: event.body.clone(),
            now: self.clock.now(),
        };
        self.client.call(&call).await.map_err(converted)
    }
}

/// Converts the failure of a call into the error by which the engine decides what follows. The text
/// that the service itself wrote is kept apart from the error, because it must not be logged.
fn converted(mut error: hookbox_forward::CallError) -> CallError {
    let excerpt = error.excerpt.take();
    let failed = match error.class {
        CallClass::Transient { wish: None } => CallError::transient(error),
        CallClass::Transient { wish: Some(wish) } => CallError::retry_after(wish, error),
        CallClass::Unanswered => CallError::unanswered(error),
        CallClass::Permanent => CallError::permanent(error),
        CallClass::Busy { after } => CallError::busy(after, error),
        CallClass::TargetFault => CallError::target_fault(error),
    };
    match excerpt {
        Some(excerpt) => failed.with_answer(excerpt.0),
        None => failed,
    }
}

#[cfg(test)]
mod tests;
