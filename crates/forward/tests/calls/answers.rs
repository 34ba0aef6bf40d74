//! Tests what the service is sent, and what its answers mean.

use std::time::Duration;

use bytes::Bytes;
use hookbox_event::Timestamp;
use hookbox_forward::{Call, CallClass, Excerpt};
use hookbox_signature::{Key, Preset, verify};

use crate::service::{Reply, Service, Then};
use crate::world::{
    BODY, KEY, NOW, Names, TOKEN, TRANSIENT, call, client, client_of, failure, settings,
};

#[tokio::test]
async fn the_service_is_sent_the_event_and_its_signature_verifies() {
    let service = Service::new(|_| Reply::answer("204 No Content", "", "")).await;
    client(&service).call(&call()).await.unwrap();
    let received = service.only();
    assert_eq!(received.line, "POST /hooks?from=hookbox HTTP/1.1");
    assert_eq!(received.body, BODY);
    let host = format!("service.test:{}", service.address.port());
    for (name, expect) in [
        ("host", host.as_str()),
        ("content-type", "application/json"),
        ("x-tenant", "a"),
        ("authorization", TOKEN),
        ("idempotency-key", "0f1e2d3c_orders_1"),
        ("webhook-id", "0f1e2d3c_orders_1"),
        ("webhook-timestamp", "1764000000"),
        ("hookbox-topic", "shop.order.paid"),
        ("hookbox-attempt", "2"),
        ("hookbox-epoch", "5"),
    ] {
        assert_eq!(received.headers[name], expect, "{name}");
    }
    let preset = Preset::StandardWebhooks;
    let key = Key::new("2026", None, preset.secret(KEY).unwrap()).unwrap();
    let other = Key::new("other", None, vec![1; 32]).unwrap();
    let verified = |key: Key, body: &[u8], now: Timestamp| {
        let body = Bytes::copy_from_slice(body);
        verify(&preset.scheme(), &[key], &received.headers, body, now).is_ok()
    };
    assert!(verified(key.clone(), BODY, NOW));
    assert!(!verified(other, BODY, NOW));
    assert!(!verified(key.clone(), b"{}", NOW));
    let late = NOW.saturating_add(Duration::from_secs(301));
    assert!(!verified(key, BODY, late));
}

#[tokio::test]
async fn an_empty_body_has_a_length() {
    let service = Service::new(|_| Reply::ok()).await;
    let empty = Call {
        body: Bytes::new(),
        ..call()
    };
    client(&service).call(&empty).await.unwrap();
    assert_eq!(service.only().headers["content-length"], "0");
}

#[tokio::test]
async fn a_status_decides_what_follows() {
    for (status, expect) in [
        ("200 OK", None),
        ("202 Accepted", None),
        ("410 Gone", Some(CallClass::Permanent)),
        ("404 Not Found", Some(CallClass::Permanent)),
        ("408 Request Timeout", Some(TRANSIENT)),
        ("425 Too Early", Some(TRANSIENT)),
        (
            "429 Too Many Requests",
            Some(CallClass::Busy { after: None }),
        ),
        ("500 Internal Server Error", Some(TRANSIENT)),
        ("502 Bad Gateway", Some(CallClass::TargetFault)),
        ("503 Service Unavailable", Some(CallClass::TargetFault)),
        ("504 Gateway Timeout", Some(CallClass::TargetFault)),
    ] {
        let service = Service::new(move |_| Reply::answer(status, "", "no")).await;
        let result = client(&service).call(&call()).await;
        assert_eq!(result.as_ref().err().map(|it| it.class), expect);
        if let Err(error) = result {
            let expect = format!("the service answered {status} at http");
            assert!(error.text.starts_with(&expect), "{error}");
            assert_eq!(error.excerpt, Some(Excerpt("no".to_owned())));
        }
    }
}

#[tokio::test]
async fn a_busy_service_says_when_to_call_again() {
    // The second header is a date, two minutes after the start of the call. The wait is counted
    // from the arrival of the answer, so it is shorter by the time that the call took.
    for (header, shortest) in [
        ("retry-after: 120\r\n", 120),
        ("retry-after: Mon, 24 Nov 2025 16:02:00 GMT\r\n", 60),
    ] {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let service = Service::new(move |_| Reply::answer(status, header, "")).await;
            let error = failure(&client(&service)).await;
            let CallClass::Busy { after: Some(after) } = error.class else {
                panic!("{error:?}");
            };
            assert!((shortest..=120).contains(&after.as_secs()), "{after:?}");
            assert_eq!(error.excerpt, None);
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Service::new(|_| Reply::ok()).await;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let location = format!("location: http://{}/\r\n", other.address);
        let reply = Reply::answer(status, &location, "");
        let service = Service::new(move |_| reply.clone()).await;
        let error = failure(&client(&service)).await;
        assert_eq!(error.class, TRANSIENT);
        let expect = format!("the service answered {status} at http");
        assert!(error.text.starts_with(&expect), "{error}");
        assert!(
            error.text.contains("; redirects are not followed"),
            "{error}"
        );
    }
    assert_eq!(other.opened(), 0);
}

#[tokio::test]
async fn the_excerpt_of_an_answer_is_short_and_escaped() {
    let body = format!("\u{1b}[31m{}", "€".repeat(2000));
    let service =
        Service::new(move |_| Reply::answer("422 Unprocessable Content", "", &body)).await;
    let error = failure(&client(&service)).await;
    assert_eq!(error.class, CallClass::Permanent);
    let Excerpt(excerpt) = error.excerpt.unwrap();
    assert!(excerpt.len() <= 2048, "{}", excerpt.len());
    assert!(excerpt.starts_with("\\u{1b}[31m€€€"), "{excerpt}");
    assert!(excerpt.ends_with("€…"), "{excerpt}");
    assert!(!error.text.contains('€'), "{}", error.text);
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    let head = b"HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let bytes = [&head[..], chunk.repeat(200).as_bytes()].concat();
    // The second service also sends the head again, but the client has stopped reading by then.
    for then in [Then::Hang, Then::Repeat] {
        let reply = Reply::new(bytes.clone(), then);
        let service = Service::new(move |_| reply.clone()).await;
        let client = client(&service);
        let error = failure(&client).await;
        assert_eq!(error.class, TRANSIENT);
        let Excerpt(excerpt) = error.excerpt.unwrap();
        assert_eq!(excerpt, format!("{}…", "x".repeat(2045)));
        let closed = async || service.open() == 0;
        hookbox_testkit::eventually::eventually("the client must close the connection", closed)
            .await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_failure() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        let service = Service::new(move |_| Reply::new(bytes, Then::Close)).await;
        let error = failure(&client(&service)).await;
        assert_eq!(error.class, CallClass::Unanswered, "{bytes:?}");
        assert!(error.text.starts_with("the answer is not HTTP"), "{error}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(128 * 1024));
    let service = Service::new(move |_| Reply::new(endless.as_str(), Then::Hang)).await;
    let error = failure(&client(&service)).await;
    assert_eq!(error.class, CallClass::Unanswered);
    assert!(error.text.starts_with("the answer is not HTTP"), "{error}");
}

#[tokio::test]
async fn a_connection_that_is_lost_before_the_answer_is_a_failure() {
    for bytes in ["", "HTTP/1.1 200 OK\r\nx: y"] {
        let service = Service::new(move |_| Reply::new(bytes, Then::Close)).await;
        let error = failure(&client(&service)).await;
        assert_eq!(error.class, CallClass::Unanswered);
        let expect = "the connection was lost before the answer arrived";
        assert!(error.text.starts_with(expect), "{error}");
        assert_eq!(service.received().len(), 1);
    }
}

/// A service that answers 200 has taken the event. A body that never ends does not change that.
#[tokio::test]
async fn a_body_that_does_not_end_does_not_undo_a_success() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{";
    for then in [Then::Hang, Then::Close] {
        let service = Service::new(move |_| Reply::new(head, then)).await;
        let settings = settings(service.address.port());
        let client = client_of(&settings, Names::local());
        client.call(&call()).await.unwrap();
        client.call(&call()).await.unwrap();
        assert_eq!(service.opened(), 2);
    }
}
