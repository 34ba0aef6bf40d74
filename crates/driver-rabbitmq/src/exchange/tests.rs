//! Tests the errors for messages that were not published in time.
//! `crates/driver-rabbitmq/tests/rabbit/exchange.rs` tests messages that reach a broker.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use tokio::net::TcpListener;

use super::*;

/// How long an attempt to connect to one node takes. The attempts at all nodes together take longer
/// than a message may wait.
const PREFLIGHT: Duration = Duration::from_secs(1);

fn message() -> ExchangeMessage {
    ExchangeMessage {
        routing_key: "orders".to_owned(),
        message_id: "one".to_owned(),
        content_type: "application/json".to_owned(),
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
    }
}

/// The test's broker accepts connections and answers nothing.
#[tokio::test]
async fn a_message_that_waits_for_a_connection_is_not_published() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = listener.local_addr().unwrap().to_string();
    let url = format!("amqp://{}/", vec![node; 16].join(","));
    let mut options = Options::new(url, "test".parse().unwrap(), Vec::new());
    options.preflight_deadline = PREFLIGHT;
    options.connect_deadline = Duration::from_millis(100);
    options.confirm_deadline = Duration::from_millis(50);
    let publisher = ExchangePublisher::new(options, "orders").unwrap();
    let late = publisher.publish(message()).await;
    assert!(matches!(late, Err(ExchangeError::Late)), "{late:?}");
}

#[test]
fn what_the_task_has_begun_to_publish_may_be_published() {
    let is_decided = AtomicBool::new(false);
    let first = give_up(&is_decided, ExchangeError::Late);
    assert!(matches!(first, ExchangeError::Late), "{first:?}");
    let is_decided = AtomicBool::new(true);
    let second = give_up(&is_decided, ExchangeError::Closed);
    assert!(matches!(second, ExchangeError::Unknown), "{second:?}");
}
