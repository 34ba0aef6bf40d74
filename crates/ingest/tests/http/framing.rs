//! Tests requests whose framing is wrong, so that it is unclear where their body ends, and requests
//! that are not webhooks.

use crate::client::{chunked, head, post};
use crate::world::{EVENT, World, begini, signed};

#[tokio::test]
async fn a_body_that_ends_early_is_not_published() {
    let world = World::new().await;
    let length = (EVENT.len() + 1).to_string();
    let headers = [
        ("x-signature", &*signed(EVENT)),
        ("content-length", &length),
    ];
    let mut client = world.client().await;
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    client.send(EVENT).await;
    client.end().await;
    if let Some(answer) = client.answer().await {
        assert_eq!(answer.status, 400);
    }
    assert!(client.closes().await);
    world.nothing_published();

    let headers = [
        ("x-signature", &*signed(EVENT)),
        ("transfer-encoding", "chunked"),
    ];
    let mut client = world.client().await;
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    let chunk = chunked(EVENT);
    client.send(&chunk[..chunk.len() - 5]).await;
    client.end().await;
    if let Some(answer) = client.answer().await {
        assert_eq!(answer.status, 400);
    }
    world.nothing_published();
    world.keeps(EVENT).await;
}

#[tokio::test]
async fn what_follows_a_body_that_is_too_short_is_not_taken() {
    let world = World::new().await;
    // The bytes after the announced length are a request that would verify on its own. A proxy may
    // read all bytes as one request, so hookbox must not read two requests (request smuggling).
    let hidden = begini(EVENT);
    let body = [b"{}", &hidden[..]].concat();
    let headers = [("x-signature", &*signed(&body)), ("content-length", "2")];
    let mut client = world.client().await;
    client
        .send(&[head("POST", "/hooks/begini", &headers), body].concat())
        .await;
    assert_eq!(client.answer().await.unwrap().status, 403);
    assert!(client.answer().await.is_none());
    world.nothing_published();
}

#[tokio::test]
async fn two_framings_at_once_are_read_as_chunks_and_end_the_connection() {
    for order in [true, false] {
        let world = World::new().await;
        let text = signed(EVENT);
        let mut framings = [("content-length", "3"), ("transfer-encoding", "chunked")];
        if order {
            framings.reverse();
        }
        let headers = [("x-signature", &*text), framings[0], framings[1]];
        let mut request = head("POST", "/hooks/begini", &headers);
        request.extend(chunked(EVENT));
        request.extend(begini(b"{}"));
        let mut client = world.client().await;
        let answer = client.ask(&request).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(
            client.answer().await.is_none(),
            "the bytes that look like a second request must get no answer"
        );
        let all = world.broker.envelopes();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].body, EVENT);
    }
}

#[tokio::test]
async fn framings_that_contradict_themselves_are_refused() {
    let world = World::new().await;
    let text = signed(EVENT);
    let length = EVENT.len().to_string();
    for framing in [
        vec![("content-length", &*length), ("content-length", "3")],
        vec![("content-length", "+70")],
        vec![("content-length", "-1")],
        vec![("content-length", "0x46")],
        vec![("content-length", "99999999999999999999999")],
        vec![("transfer-encoding", "chunked, identity")],
        vec![("transfer-encoding", "gzip")],
        vec![("bad header", "x")],
    ] {
        let mut headers = vec![("x-signature", &*text)];
        headers.extend(framing.iter().copied());
        let mut client = world.client().await;
        client
            .send(&[head("POST", "/hooks/begini", &headers), EVENT.to_vec()].concat())
            .await;
        assert_eq!(client.answer().await.unwrap().status, 400, "{framing:?}");
        assert!(client.closes().await);
        world.nothing_published();
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"[..],
        b"\0\0\r\n\r\n",
    ] {
        let mut client = world.client().await;
        client.send(garbage).await;
        assert_eq!(client.answer().await.unwrap().status, 400);
        assert!(client.closes().await);
    }
    world.keeps(EVENT).await;
}

/// Returns malformed requests with a name and the expected status of the refusal. The test sends a
/// genuine request behind each malformed one. If the malformed request were parsed as shorter than
/// it is, the genuine request would be accepted.
fn refused_and_followed() -> Vec<(&'static str, Vec<u8>, u16)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let length = EVENT.len().to_string();
    let unsigned = head("POST", "/hooks/begini", &[("content-length", &length)]);
    let unsigned = String::from_utf8(unsigned).unwrap();
    let folded = unsigned.replace("host: ", "x-folded: a\r\n b\r\nhost: ");
    let folded_length = unsigned.replace(&length, &format!("1\r\n {length}"));
    let chunks = head("POST", "/hooks/begini", &[("transfer-encoding", "chunked")]);
    let flood = format!("1;{}\r\nx\r\n0\r\n\r\n", "a=b;".repeat(16 * 1024));
    let many = "1;a=b\r\nx\r\n".repeat(16 * 1024);
    vec![
        (
            "bare line feeds",
            text(&unsigned.replace("\r\n", "\n")),
            403,
        ),
        (
            "bare carriage returns",
            text(&unsigned.replace("\r\n", "\r")),
            400,
        ),
        ("a folded header", text(&folded), 400),
        ("a folded length", text(&folded_length), 400),
        ("HTTP/0.9", text("GET /hooks/begini\r\n"), 400),
        (
            "HTTP/0.9 with headers",
            text("POST /hooks/begini\r\nhost: x\r\n\r\n"),
            400,
        ),
        (
            "HTTP/2.0",
            text(&unsigned.replace("HTTP/1.1", "HTTP/2.0")),
            400,
        ),
        ("CONNECT", head("CONNECT", "hooks.example:443", &[]), 404),
        ("TRACE", head("TRACE", "/hooks/begini", &[]), 405),
        (
            "a URL with another host",
            text(&unsigned.replace(" /hooks", " http://other.example/hooks")),
            403,
        ),
        (
            "too long an extension of one chunk",
            [&chunks[..], flood.as_bytes()].concat(),
            400,
        ),
        (
            "too many chunks with extensions",
            [&chunks[..], many.as_bytes()].concat(),
            400,
        ),
    ]
}

#[tokio::test]
async fn what_follows_a_strange_request_is_never_taken() {
    let world = World::new().await;
    for (what, strange, status) in refused_and_followed() {
        let mut client = world.client().await;
        // After the malformed head come a body and a genuine request. If hookbox took the malformed
        // request for one without a body, or for a shorter one, it would parse what follows as the
        // next request.
        client
            .offer(&[&strange[..], EVENT, &begini(EVENT)].concat())
            .await;
        let answer = client.answer().await.expect(what);
        assert_eq!(answer.status, status, "{what}");
        assert!(client.closes().await, "{what}");
        world.nothing_published();
    }
    world.keeps(EVENT).await;
}

/// A client that sends through a proxy writes the whole URL into the request line. Such a request
/// must reach the same source as a request with the path alone.
#[tokio::test]
async fn a_whole_address_in_the_request_line_is_the_same_place() {
    let world = World::new().await;
    let request = String::from_utf8(begini(EVENT)).unwrap();
    let whole = request.replace("POST /hooks", "POST http://hooks.example/hooks");
    let mut client = world.client().await;
    client.send(whole.as_bytes()).await;
    client.send(&begini(b"{}")).await;
    for _ in 0..2 {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    let bodies: Vec<_> = world
        .broker
        .envelopes()
        .into_iter()
        .map(|it| it.body)
        .collect();
    assert_eq!(bodies, [EVENT, b"{}"]);
}

#[tokio::test]
async fn a_body_that_is_packed_is_refused() {
    let world = World::new().await;
    for (coding, status) in [("gzip", 415), ("br", 415), ("identity, gzip", 415)] {
        let headers = [
            ("x-signature", &*signed(EVENT)),
            ("content-encoding", coding),
        ];
        let answer = world.ask(&post("/hooks/begini", &headers, EVENT)).await;
        assert_eq!(answer.status, status, "{coding}");
        world.nothing_published();
    }
    let headers = [
        ("x-signature", &*signed(EVENT)),
        ("content-encoding", "identity"),
    ];
    let answer = world.ask(&post("/hooks/begini", &headers, EVENT)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn other_methods_and_places() {
    let world = World::new().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let answer = world.ask(&head(method, "/hooks/begini", &[])).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    for path in [
        "/hooks/unknown",
        "/hooks/BEGINI",
        "/hooks/begini%00",
        "/hooks/%ff",
        "/hooks/begini/",
        "/hooks/begini/more",
        "/hooks/../hooks/begini",
        "/hooks/",
        "//hooks/begini",
        "/",
        "/admin",
    ] {
        let request = post(path, &[("x-signature", &signed(EVENT))], EVENT);
        let answer = world.ask(&request).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["reason"], "unknown_source", "{path}");
    }
    world.nothing_published();
}
