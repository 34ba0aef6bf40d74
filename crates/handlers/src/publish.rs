//! The effect `publish`: publishes each event of a route to a RabbitMQ exchange of the user.

mod invalid;
mod routing_key;
mod settings;

use std::time::Duration;

use hookbox_driver::{OpenError, TargetLimits, TargetName};
use hookbox_driver_rabbitmq::{
    ExchangeError, ExchangeMessage, ExchangePublisher, HeaderValue, Options,
};
use hookbox_event::EnvironmentName;
use hookbox_forward::ReadSecret;
use hookbox_worker::{Call, CallError, Effect, Event};
use serde::de::IgnoredAny;

use crate::call_limits;

pub use invalid::InvalidPublish;
pub use routing_key::{InvalidRoutingKey, RoutingKey};
pub use settings::{PrivateNetwork, Settings};

/// The name of the effect in the config.
pub const NAME: &str = "publish";

/// How much longer the worker waits for a message to be confirmed than the publisher does. So the
/// publisher gives up first, and its error is recorded.
const TIME_LIMIT_MARGIN: Duration = Duration::from_secs(1);

/// A publish round may have at least this many messages, even if the settings allow fewer messages
/// in flight. RabbitMQ slows down a channel only if more than 32 messages on it are unconfirmed.
const ROUND_LEAST: usize = 32;

/// The media type of a message, if the settings name no other one: the body of an event is JSON.
const JSON: &str = "application/json";

/// The most bytes of a short string of AMQP: the name of an exchange or a header, or a media type.
const SHORT_MAX: usize = 255;

/// The highest number of headers in the settings. Every message has all of these headers.
const HEADERS_MAX: usize = 32;
/// The longest value of a header in the settings, in bytes.
const VALUE_BYTES_MAX: usize = 2048;

/// The effect that publishes events to one exchange.
pub struct Publish {
    publisher: ExchangePublisher,
    target: TargetName,
    limits: TargetLimits,
    is_repeatable: bool,
    routing_key: RoutingKey,
    content_type: String,
    headers: Vec<(String, HeaderValue)>,
}

impl Publish {
    /// Creates the effect from its settings, without connecting. `own` are the options for the
    /// broker of hookbox, if that is a RabbitMQ. They are used if the settings name no other
    /// broker.
    ///
    /// # Errors
    /// When the settings cannot be used, or the threads of the publisher cannot be started.
    pub fn new(
        settings: &Settings,
        own: Option<Options>,
        environment: EnvironmentName,
        read_secret: ReadSecret<'_>,
    ) -> Result<Self, InvalidPublish> {
        let limits = call_limits::read(settings.concurrency, settings.rate)?;
        let exchange = settings.exchange.as_str();
        if !(1..=SHORT_MAX).contains(&exchange.len()) {
            return Err(InvalidPublish::Exchange);
        }
        let headers = headers(settings)?;
        let content_type = settings.content_type.as_deref().unwrap_or(JSON);
        if !(1..=SHORT_MAX).contains(&content_type.len()) {
            return Err(InvalidPublish::ContentType);
        }
        let mut options = options(settings, own, environment, read_secret)?;
        // Two publish rounds hold all messages that may be in flight, and the deadline of the
        // publisher allows for two publish rounds.
        let at_once = usize::try_from(limits.concurrency.get()).unwrap_or(usize::MAX);
        options.round_max = at_once.div_ceil(2).max(ROUND_LEAST);
        options.in_flight_max = at_once;
        let publisher = ExchangePublisher::new(options, exchange).map_err(unusable)?;
        Ok(Self {
            target: publisher.name().parse()?,
            publisher,
            limits,
            is_repeatable: settings.repeatable,
            routing_key: settings.routing_key.clone(),
            content_type: content_type.to_owned(),
            headers,
        })
    }

    fn message(&self, event: &Event<IgnoredAny>, call: &Call) -> ExchangeMessage {
        let topic = HeaderValue::Text(event.topic.as_str().to_owned());
        let mut headers = self.headers.clone();
        headers.extend([
            ("hookbox-topic".to_owned(), topic),
            (
                "hookbox-attempt".to_owned(),
                HeaderValue::Number(call.attempt),
            ),
            ("hookbox-epoch".to_owned(), HeaderValue::Number(call.epoch)),
        ]);
        if let Some(trace) = &call.traceparent {
            let trace = HeaderValue::Text(trace.clone());
            headers.push(("traceparent".to_owned(), trace));
        }
        ExchangeMessage {
            routing_key: self.routing_key.of(&event.source, &event.topic),
            message_id: call.key.clone(),
            content_type: self.content_type.clone(),
            headers,
            body: event.body.clone(),
        }
    }
}

impl Effect for Publish {
    const NAME: &'static str = NAME;
    // The body is published as it was received, so no payload is built from it.
    type Payload = IgnoredAny;

    fn target(&self) -> &TargetName {
        &self.target
    }

    fn limits(&self) -> TargetLimits {
        self.limits
    }

    fn time_limit(&self) -> Duration {
        self.publisher.deadline() + TIME_LIMIT_MARGIN
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    async fn call(&self, event: &Event<IgnoredAny>, call: &Call) -> Result<(), CallError> {
        let published = self.publisher.publish(self.message(event, call)).await;
        published.map_err(converted)
    }
}

/// Returns the options for the broker that the settings name.
fn options(
    settings: &Settings,
    own: Option<Options>,
    environment: EnvironmentName,
    read_secret: ReadSecret<'_>,
) -> Result<Options, InvalidPublish> {
    let Some(reference) = &settings.url else {
        return own.ok_or(InvalidPublish::NoUrl);
    };
    let url = read_secret(reference).map_err(InvalidPublish::Url)?;
    let options = Options::new(url, environment, Vec::new());
    let is_private = settings.network == Some(PrivateNetwork::Private);
    if options.is_protected().map_err(unusable)? || is_private {
        Ok(options)
    } else {
        Err(InvalidPublish::InTheClear)
    }
}

/// Converts an error of the driver's options. The text of the error contains no part of the URL.
fn unusable(error: OpenError) -> InvalidPublish {
    InvalidPublish::Url(match error {
        OpenError::Options { why, .. } => why,
        error @ (OpenError::Environment { .. }
        | OpenError::Identity { .. }
        | OpenError::SchemaOlder { .. }
        | OpenError::SchemaNewer { .. }
        | OpenError::Unsafe { .. }
        | OpenError::Topology(_)
        | OpenError::Unavailable { .. }
        | OpenError::Refused { .. }) => error.to_string(),
    })
}

/// Checks the headers of the settings, and returns them.
fn headers(settings: &Settings) -> Result<Vec<(String, HeaderValue)>, InvalidPublish> {
    let found = settings.headers.len();
    if found > HEADERS_MAX {
        let max = HEADERS_MAX;
        return Err(InvalidPublish::HeaderCount { found, max });
    }
    let headers = settings.headers.iter().map(|(name, value)| {
        let wrong = |why| InvalidPublish::Header {
            name: name.clone(),
            why,
        };
        if !(1..=SHORT_MAX).contains(&name.len()) {
            return Err(wrong("its name must have 1 to 255 bytes"));
        }
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("hookbox-") || lower == "traceparent" {
            return Err(wrong("hookbox itself sets it"));
        }
        // RabbitMQ reads the values of these two headers as lists of further routing keys.
        if matches!(lower.as_str(), "cc" | "bcc") {
            return Err(wrong("RabbitMQ uses it for further routing keys"));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(wrong("its value is longer than 2048 bytes"));
        }
        Ok((name.clone(), HeaderValue::Text(value.clone())))
    });
    headers.collect()
}

/// Converts the error of a publish into the error by which the engine decides what follows.
fn converted(error: ExchangeError) -> CallError {
    match error {
        // A queue may be bound for this routing key later, or the right to use it may be granted,
        // so another attempt may succeed.
        ExchangeError::Unroutable | ExchangeError::RefusedKey(_) => CallError::transient(error),
        // This counts as an attempt. Otherwise, if the message itself makes the broker close the
        // connection, it would be published again for ever.
        ExchangeError::Unknown => CallError::unanswered(error),
        ExchangeError::TooLong(_) | ExchangeError::RefusedMessage(_) => CallError::permanent(error),
        ExchangeError::Rejected => CallError::busy(None, error),
        ExchangeError::Blocked
        | ExchangeError::NoExchange(_)
        | ExchangeError::NoRight(_)
        | ExchangeError::Unavailable(_)
        | ExchangeError::Late
        | ExchangeError::Closed => CallError::target_fault(error),
    }
}

#[cfg(test)]
mod tests;
