//! Tests what follows from the answers of a service, and which settings of `forward` are accepted.
//! How a service may misbehave is tested where the calls are made, in
//! `crates/forward/tests/calls/`.

use std::net::SocketAddr;

use hookbox_event::Timestamp;
use hookbox_forward::{Reference, SystemResolver};
use hookbox_worker::{AfterCall, CallRehearsalError, rehearse_call};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A clock that stands still at 2025-11-24T16:00:00Z.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(1_764_000_000_000_000)
    }
}

const BODY: &str = r#"{ "uid": "u-1" }"#;

fn forward(url: &str, others: serde_json::Value) -> Result<Forward, String> {
    let mut settings = json!({
        "url": url,
        "private_host": "127.0.0.1",
        "secrets": [{ "id": "a", "env": "KEY" }],
    });
    for (key, value) in others.as_object().expect("the settings must be a table") {
        settings[key] = value.clone();
    }
    let settings: Settings =
        serde_json::from_value(settings).expect("the settings must be readable");
    let read = |_: &Reference| Ok(KEY.to_owned());
    let (resolve, clock) = (Arc::new(SystemResolver::new()), Arc::new(Still));
    let made = Forward::new(&settings, Path::new("."), &read, resolve, clock);
    made.map_err(|error| error.to_string())
}

/// Accepts one connection, gives its request this answer, and returns the request.
async fn answer(listener: TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.expect("a connection must arrive");
    let mut request = Vec::new();
    while !request.ends_with(BODY.as_bytes()) {
        let read = stream
            .read_buf(&mut request)
            .await
            .expect("a request must arrive");
        assert!(
            read > 0,
            "the connection must not end before its request is whole"
        );
    }
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
    let written = stream.write_all(answer.as_bytes()).await;
    written.expect("the answer must be written");
    String::from_utf8(request).expect("the request must be text")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port must be free");
    let address = listener
        .local_addr()
        .expect("the listener must have an address");
    (listener, address)
}

#[tokio::test]
async fn the_answer_decides_what_becomes_of_the_event() {
    for (text, expect) in [
        ("204 No Content", None),
        ("500 Internal Server Error", Some(AfterCall::Retry)),
        (
            "408 Request Timeout\r\nretry-after: 7",
            Some(AfterCall::Retry),
        ),
        ("410 Gone", Some(AfterCall::DeadLetter)),
        ("429 Too Many Requests", Some(AfterCall::Wait)),
        (
            "503 Service Unavailable\r\nretry-after: 7",
            Some(AfterCall::Wait),
        ),
        ("502 Bad Gateway", Some(AfterCall::Wait)),
    ] {
        let (listener, address) = listen().await;
        let forward = forward(&format!("http://{address}/in"), json!({}))
            .expect("the settings must be valid");
        let called = rehearse_call(forward, BODY);
        let (called, request) = tokio::join!(called, answer(listener, text));
        let then = match &called {
            Ok(_) => None,
            Err(CallRehearsalError::Failed { then, .. }) => Some(*then),
            Err(error @ (CallRehearsalError::NotJson(_) | CallRehearsalError::NoPayload(_))) => {
                panic!("{error}")
            }
        };
        assert_eq!(then, expect, "{text}");
        assert!(request.starts_with("POST /in HTTP/1.1\r\n"), "{request}");
        if let Ok(call) = called {
            for (header, value) in [
                ("webhook-id", call.key.as_str()),
                ("idempotency-key", &call.key),
                ("webhook-timestamp", "1764000000"),
            ] {
                let line = format!("{header}: {value}\r\n");
                assert!(request.contains(&line), "{request}");
            }
        }
    }
}

#[tokio::test]
async fn an_unreachable_service_costs_no_attempt() {
    let (listener, address) = listen().await;
    drop(listener);
    let forward =
        forward(&format!("http://{address}/"), json!({})).expect("the settings must be valid");
    let error = rehearse_call(forward, BODY)
        .await
        .expect_err("the connection must be refused");
    let CallRehearsalError::Failed { then, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(then, AfterCall::Wait);
}

#[test]
fn each_failure_of_a_call_keeps_its_class() {
    let second = Some(Duration::from_secs(1));
    for (class, expect) in [
        (
            CallClass::Transient { wish: None },
            "Transient { wish: None }",
        ),
        (
            CallClass::Transient { wish: second },
            "Transient { wish: Some(1s) }",
        ),
        (CallClass::Unanswered, "Unanswered"),
        (CallClass::Permanent, "Permanent"),
        (
            CallClass::Busy { after: second },
            "Busy { after: Some(1s) }",
        ),
        (CallClass::TargetFault, "TargetFault"),
    ] {
        let (text, excerpt) = ("why".to_owned(), None);
        let failed = hookbox_forward::CallError {
            class,
            text,
            excerpt,
        };
        let shown = format!("{:?}", converted(failed));
        assert!(shown.contains(&format!("class: {expect}, ")), "{shown}");
    }
}

#[test]
fn the_target_and_the_limits_are_those_of_the_settings() {
    let own = json!({
        "concurrency": 8,
        "rate": { "calls": 5, "per": "1 min" },
        "limits": { "total": "5 s" },
    });
    let forward =
        forward("http://127.0.0.1:8000/secret-path", own).expect("the settings must be valid");
    assert_eq!(forward.target().as_str(), "http://127.0.0.1:8000");
    assert_eq!(forward.limits().concurrency.get(), 8);
    let rate = forward.limits().rate.expect("a rate must be set");
    assert_eq!((rate.calls.get(), rate.per.as_secs()), (5, 60));
    // The worker waits one second longer than the client.
    assert_eq!(forward.time_limit(), Duration::from_secs(6));
}

#[test]
fn settings_that_cannot_be_used_are_refused_with_their_key() {
    let host = "a".repeat(300);
    for (url, others, expect) in [
        (
            "http://127.0.0.1/",
            json!({ "concurrency": 0 }),
            "concurrency: must be 1 to 256",
        ),
        (
            "http://127.0.0.2/",
            json!({}),
            "private_host: \"127.0.0.1\" is not the host",
        ),
        (
            "http://127.0.0.1/",
            json!({ "secrets": [] }),
            "secrets: 0 are set",
        ),
        (
            &format!("http://{host}/"),
            json!({ "private_host": host }),
            "url: the name of a target has 1 to 300",
        ),
    ] {
        let refused = forward(url, others)
            .err()
            .expect("the settings must be refused");
        assert!(refused.starts_with(expect), "{refused}");
    }
}
