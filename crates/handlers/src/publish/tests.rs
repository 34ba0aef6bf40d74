//! Tests which settings of `publish` are accepted, and what follows from the failures of a message.
//! Messages that reach a broker are tested in `crates/driver-rabbitmq/tests/rabbit/exchange.rs` and
//! `tests/journeys/published.rs`.

use std::sync::Arc;

use hookbox_forward::Reference;
use hookbox_worker::{AfterCall, CallRehearsalError, rehearse_call};
use serde_json::{Value, json};

use super::*;

const LOCAL: &str = "amqp://u:hunter2@127.0.0.1:1/shop";

fn environment() -> EnvironmentName {
    "test"
        .parse()
        .expect("the name of the environment must be valid")
}

fn own() -> Option<Options> {
    Some(Options::new(
        "amqp://own.example",
        environment(),
        Vec::new(),
    ))
}

/// Makes the effect. In these tests, the name of the environment variable of `url` is the URL
/// itself.
fn publish(own: Option<Options>, others: Value) -> Result<Publish, String> {
    let mut settings = json!({ "exchange": "orders" });
    for (key, value) in others.as_object().expect("the settings must be a table") {
        settings[key] = value.clone();
    }
    let settings: Settings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    let read = |reference: &Reference| reference.env.clone().ok_or_else(|| "no env".to_owned());
    let made = Publish::new(&settings, own, environment(), &read);
    made.map_err(|error| error.to_string())
}

#[test]
fn messages_go_to_the_broker_of_the_settings_or_to_that_of_hookbox() {
    let other = json!({ "url": { "env": LOCAL }, "concurrency": 200 });
    let publish = self::publish(own(), other).expect("the settings must be valid");
    assert_eq!(publish.target().as_str(), "amqp://127.0.0.1:1/shop/orders");
    assert_eq!(publish.limits().concurrency.get(), 200);
    assert_eq!(publish.time_limit(), Duration::from_secs(16));
    let publish = self::publish(own(), json!({})).expect("the settings must be valid");
    assert_eq!(
        publish.target().as_str(),
        "amqp://own.example:5672/%2F/orders"
    );
    let private = json!({ "url": { "env": "amqp://far.example/" }, "network": "private" });
    assert!(self::publish(None, private).is_ok());
}

#[test]
fn settings_that_cannot_be_used_are_refused_with_their_key() {
    let many: Value = (0..33).map(|n| (format!("h{n}"), json!("a"))).collect();
    for (others, expect) in [
        (json!({}), "url: the broker of this config is a SQLite file"),
        (json!({ "url": { "file": "a" } }), "url: no env"),
        (json!({ "url": { "env": "http://u:hunter2@a/" } }), "url: "),
        (
            json!({ "url": { "env": "amqp://u:hunter2@far.example/" } }),
            "url: RabbitMQ is on another machine",
        ),
        (
            json!({ "exchange": "" }),
            "exchange: name an exchange of your own",
        ),
        (
            json!({ "content_type": "" }),
            "content_type: must have 1 to 255 bytes",
        ),
        (
            json!({ "headers": { "Hookbox-Epoch": "1" } }),
            "headers.\"Hookbox-Epoch\": hookbox",
        ),
        (
            json!({ "headers": { "CC": "queue" } }),
            "headers.\"CC\": RabbitMQ",
        ),
        (json!({ "headers": many }), "headers: 33 are set"),
        (
            json!({ "concurrency": 257 }),
            "concurrency: must be 1 to 256",
        ),
        (
            json!({ "routing_key": "{uid}" }),
            "a routing key has at most 255 bytes",
        ),
        (json!({ "network": "public" }), "unknown variant `public`"),
    ] {
        let refused = publish(None, others)
            .err()
            .expect("the settings must be refused");
        assert!(refused.starts_with(expect), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn a_message_carries_what_a_consumer_needs() {
    let others = json!({
        "url": { "env": LOCAL },
        "routing_key": "in.{event_type}",
        "headers": { "x-tenant": "a" },
    });
    let publish = publish(None, others).expect("the settings must be valid");
    let topic = "shop.order.paid".parse().expect("the topic must be valid");
    let source = "shop"
        .parse()
        .expect("the name of the source must be valid");
    let event = Event::sample(IgnoredAny);
    let event = Event {
        topic,
        source,
        ..event
    };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = Call {
        key: "0f1e-orders-1".to_owned(),
        epoch: 7,
        attempt: 3,
        route: "orders"
            .parse()
            .expect("the name of the route must be valid"),
        traceparent: Some(trace.to_owned()),
    };
    let message = publish.message(&event, &call);
    assert_eq!(message.routing_key, "in.order.paid");
    assert_eq!(message.message_id, "0f1e-orders-1");
    assert_eq!(message.content_type, "application/json");
    assert_eq!(message.body, event.body);
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    let expect = [
        ("x-tenant", text("a")),
        ("hookbox-topic", text("shop.order.paid")),
        ("hookbox-attempt", HeaderValue::Number(3)),
        ("hookbox-epoch", HeaderValue::Number(7)),
        ("traceparent", text(trace)),
    ];
    let expect = expect.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(message.headers, expect);
}

#[tokio::test]
async fn an_unreachable_broker_costs_no_attempt() {
    let publish =
        publish(None, json!({ "url": { "env": LOCAL } })).expect("the settings must be valid");
    let error = rehearse_call(publish, "{}")
        .await
        .expect_err("the connection must be refused");
    let CallRehearsalError::Failed { then, error } = error else {
        panic!("{error}");
    };
    assert_eq!(then, AfterCall::Wait, "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn each_publish_error_belongs_to_the_event_or_to_the_broker() {
    let exchange = || "orders".to_owned();
    let too_large = Arc::new(std::io::Error::other("it is too large"));
    for (error, expect) in [
        (ExchangeError::Unroutable, "Transient"),
        (ExchangeError::RefusedKey(exchange()), "Transient"),
        (ExchangeError::RefusedMessage(too_large), "Permanent"),
        (ExchangeError::Unknown, "Unanswered"),
        (ExchangeError::TooLong("routing key"), "Permanent"),
        (ExchangeError::Rejected, "Busy { after: None }"),
        (ExchangeError::Blocked, "TargetFault"),
        (ExchangeError::NoExchange(exchange()), "TargetFault"),
        (ExchangeError::NoRight(exchange()), "TargetFault"),
        (ExchangeError::Late, "TargetFault"),
        (ExchangeError::Closed, "TargetFault"),
    ] {
        let shown = format!("{:?}", converted(error));
        assert!(shown.contains(&format!("class: {expect}")), "{shown}");
    }
}
