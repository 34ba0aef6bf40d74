//! Tests every limit of an ingest with the largest value that is allowed and the smallest that is
//! refused.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_ingest::Limits;
use hookbox_testkit::eventually::eventually;

use crate::client::{Client, PATIENCE, chunked, head, post};
use crate::fake::Mode;
use crate::world::{EVENT, World, begini, hasty, signed};

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit() {
    let world = World::with(Limits {
        body_max: 1_000,
        ..Limits::standard()
    })
    .await;
    world.keeps(&[b' '; 1_000]).await;
    let over = [b' '; 1_001];
    let mut client = world.client().await;
    client.offer(&begini(&over)).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.closes().await);
    // A request whose announced length is too large is refused before its body arrives.
    let mut client = world.client().await;
    let headers = [("content-length", "1001"), ("expect", "100-continue")];
    let answer = client.ask(&head("POST", "/hooks/begini", &headers)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(world.broker.kept().len(), 1);
}

/// A body size in bytes. Sockets buffer less, so a sender can send it all only if hookbox reads.
const FAR_TOO_LARGE: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn a_sender_that_writes_everything_first_reads_the_refusal() {
    let world = World::with(Limits {
        body_max: 1_000,
        ..Limits::standard()
    })
    .await;
    let body = vec![b' '; FAR_TOO_LARGE];
    for request in [
        begini(&body),
        [
            head("POST", "/hooks/begini", &[("transfer-encoding", "chunked")]),
            chunked(&body),
        ]
        .concat(),
        post("/hooks/begini", &[("content-encoding", "gzip")], &body),
    ] {
        let mut client = world.client().await;
        assert!(
            client.offer(&request).await,
            "the connection must not be cut while the sender still writes"
        );
        let status = client.answer().await.unwrap().status;
        assert!([413, 415].contains(&status), "{status}");
    }
    world.nothing_published();
}

#[tokio::test]
async fn chunks_without_an_end_are_refused_at_the_limit() {
    let world = World::new().await;
    let mut client = world.client().await;
    let headers = [("transfer-encoding", "chunked")];
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    let mut sent = 0;
    // The buffers of the two sockets accept some bytes beyond the limit.
    while client.offer(&chunk).await {
        sent += 1;
        assert!(sent < 1_000, "an endless body must be refused");
    }
    assert!(sent >= 16, "the body must be read up to the limit of 1 MiB");
    let answer = client.answer().await;
    // The sender never ends its body, so the connection is reset, which may discard the answer.
    if let Some(answer) = answer {
        assert_eq!(answer.status, 413);
    }
    eventually("the body must be counted as too large", async || {
        world.ingest.counters().refused_by_reason().get("too_large") == Some(&1)
    })
    .await;
    world.nothing_published();
    world.keeps(EVENT).await;
}

#[tokio::test]
async fn chunks_just_over_the_limit_are_answered_413() {
    let world = World::with(Limits {
        body_max: 1_000,
        ..Limits::standard()
    })
    .await;
    for (length, status) in [(1_000, 200), (1_001, 413)] {
        let body = vec![b' '; length];
        let headers = [
            ("x-signature", &*signed(&body)),
            ("transfer-encoding", "chunked"),
        ];
        let mut request = head("POST", "/hooks/begini", &headers);
        request.extend(crate::client::chunked(&body));
        assert_eq!(world.ask(&request).await.status, status);
    }
    let all = world.broker.envelopes();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].body.len(), 1_000);
}

#[tokio::test]
async fn too_many_headers_and_too_long_heads_are_refused() {
    let world = World::new().await;
    let signature = signed(EVENT);
    let names: Vec<String> = (0..65).map(|number| format!("x-{number}")).collect();
    let with = |count: usize| {
        let mut headers = vec![("x-signature", &*signature)];
        // Host, Content-Length and X-Signature count as headers too.
        headers.extend(
            names
                .iter()
                .take(count - 3)
                .map(|name| (name.as_str(), "1")),
        );
        post("/hooks/begini", &headers, EVENT)
    };
    assert_eq!(world.ask(&with(64)).await.status, 200);
    assert_eq!(world.ask(&with(65)).await.status, 431);

    let long = "x".repeat(64 * 1024);
    let mut client = world.client().await;
    client
        .offer(&post("/hooks/begini", &[("x-long", &long)], EVENT))
        .await;
    assert_eq!(client.answer().await.unwrap().status, 431);
    assert!(client.closes().await);
    let mut client = world.client().await;
    client.offer(&post(&format!("/{long}"), &[], EVENT)).await;
    let status = client.answer().await.unwrap().status;
    assert!([414, 431].contains(&status), "{status}");
    assert_eq!(world.broker.kept().len(), 1);
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let limits = hasty();
    let world = World::with(limits.clone()).await;
    let began = tokio::time::Instant::now();
    let mut silent = world.client().await;
    let mut begun = world.client().await;
    begun.send(b"POST /hooks/begini HTTP/1.1\r\nhost:").await;
    let mut dripping = world.client().await;
    let drip = Duration::from_millis(20);
    let mut drops = 0;
    // Each byte arrives soon, but the head never ends: the deadline covers the whole head.
    while dripping.offer(b"P").await && !dripping.closes_within(drip).await {
        drops += 1;
        assert!(drops < 200, "bytes must not extend the head's deadline");
    }
    assert!(
        began.elapsed() >= limits.head_deadline,
        "no connection may be cut before the deadline of its head"
    );
    assert!(silent.closes().await);
    assert!(begun.closes().await);
    // A connection on which nothing follows an accepted request is closed too.
    let mut idle = world.client().await;
    assert_eq!(idle.ask(&begini(EVENT)).await.status, 200);
    assert!(idle.closes().await);
}

#[tokio::test]
async fn a_slow_body_is_answered_408() {
    let world = World::with(hasty()).await;
    let headers = [("x-signature", &*signed(EVENT)), ("content-length", "70")];
    let mut client = world.client().await;
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    client.send(&EVENT[..10]).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 408);
    assert_eq!(answer.json()["reason"], "too_slow");
    assert!(client.closes().await);

    // Each byte follows soon after the one before it, but their rate is below the minimum.
    let headers = [("transfer-encoding", "chunked")];
    let mut client = world.client().await;
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut bytes = 0;
    let answer = loop {
        tokio::select! {
            answer = client.answer() => break answer.unwrap(),
            _ = ticks.tick() => {}
        }
        client.offer(b"1\r\nx\r\n").await;
        bytes += 1;
        assert!(bytes < 200, "bytes must not extend the body's deadline");
    };
    assert_eq!(answer.status, 408);
    world.nothing_published();
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let world = World::with(Limits {
        connections_per_address_max: 2,
        ..Limits::standard()
    })
    .await;
    let mut first = world.client().await;
    let mut second = world.client().await;
    assert_eq!(first.ask(&begini(EVENT)).await.status, 200);
    assert_eq!(second.ask(&begini(EVENT)).await.status, 200);
    let mut third = world.client().await;
    assert!(third.closes().await);
    assert_eq!(first.ask(&begini(EVENT)).await.status, 200);
    first.end().await;
    assert!(first.closes().await);
    // The first connection frees its place once the server has noticed the end of that connection.
    let mut tries = 0;
    loop {
        let mut fourth = world.client().await;
        if fourth.offer(&begini(EVENT)).await
            && let Some(answer) = fourth.answer().await
        {
            assert_eq!(answer.status, 200);
            break;
        }
        tries += 1;
        assert!(tries < 1_000, "a connection that ended must free its place");
    }
}

/// How many idle connections the test opens. Only [`PLACES`] connections may be open at once.
const IDLE: usize = 200;
const PLACES: usize = 50;

/// Connections without a verified request make room for a new one, however many they are.
#[tokio::test]
async fn idle_connections_keep_a_healthy_one_waiting_for_a_bounded_time() {
    let limits = Limits {
        connections_max: PLACES,
        connections_per_address_max: IDLE,
        idle_deadline: PATIENCE * 3,
        ..Limits::standard()
    };
    let world = World::with(limits.clone()).await;
    let began = tokio::time::Instant::now();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(world.client().await);
    }
    let mut healthy = world.client().await;
    assert_eq!(healthy.ask(&begini(EVENT)).await.status, 200);
    let waited = began.elapsed();
    assert!(
        waited < limits.head_deadline,
        "a healthy connection must be answered in time: {waited:?}"
    );
    // The oldest connections were closed; only the newest have places.
    for client in &mut idle[..=IDLE - PLACES] {
        assert!(client.closes().await);
    }
    let counters = world.ingest.counters();
    assert_eq!(counters.connections.load(Ordering::Relaxed), PLACES as u64);
    world.keeps(EVENT).await;
}

#[tokio::test]
async fn bodies_in_memory_are_bounded_and_given_back() {
    let world = World::with(Limits {
        body_bytes_in_flight_max: 100,
        body_max: 100,
        ..Limits::standard()
    })
    .await;
    let mut holder = world.client().await;
    let headers = [("content-length", "100")];
    holder.send(&head("POST", "/hooks/begini", &headers)).await;
    holder.send(&[b' '; 90]).await;
    // Once the bytes of the first body are in memory, there is no room for a second body.
    let mut tries = 0;
    let refused = loop {
        let answer = world.begini(EVENT).await;
        if answer.status == 503 {
            break answer;
        }
        tries += 1;
        assert!(tries < 1_000, "a second body must be refused");
    };
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(
        world.begini(b"").await.status,
        200,
        "an empty body must be accepted, because it needs no memory"
    );
    drop(holder);
    let mut tries = 0;
    while world.begini(EVENT).await.status != 200 {
        tries += 1;
        assert!(tries < 1_000, "the body's memory must become free again");
    }
}

#[tokio::test]
async fn a_body_is_counted_until_the_broker_has_answered() {
    let world = World::with(Limits {
        body_bytes_in_flight_max: EVENT.len(),
        confirm_deadline: Duration::from_millis(100),
        ..Limits::standard()
    })
    .await;
    world.broker.set(Mode::Hang);
    assert_eq!(world.begini(EVENT).await.status, 503);
    let counters = world.ingest.counters();
    // The sender got its answer, but the publish still waits, so the body still takes memory.
    assert_eq!(world.begini(EVENT).await.status, 503);
    assert_eq!(counters.refused_by_reason().get("too_busy"), Some(&1));
    world.broker.set(Mode::Take);
    world.broker.until_kept(1).await;
    let mut tries = 0;
    while world.begini(EVENT).await.status != 200 {
        tries += 1;
        assert!(tries < 1_000, "the body's memory must become free again");
    }
}

#[tokio::test]
async fn bodies_that_are_only_announced_keep_no_one_out() {
    let world = World::with(Limits {
        body_bytes_in_flight_max: 100,
        body_max: 100,
        ..Limits::standard()
    })
    .await;
    let announced = [("content-length", "100"), ("expect", "100-continue")];
    let endless = [("transfer-encoding", "chunked"), ("expect", "100-continue")];
    let mut slow = Vec::new();
    for headers in [announced, endless, announced] {
        let mut client = world.client().await;
        let continued = client.ask(&head("POST", "/hooks/begini", &headers)).await;
        assert_eq!(continued.status, 100, "ingest must send `100 Continue`");
        slow.push(client);
    }
    world.keeps(EVENT).await;
    // From here on the bodies arrive, and their bytes count. There is memory for only some of them,
    // so at least one sender is answered 503.
    for client in &mut slow {
        client.offer(b"50\r\n").await;
        client.offer(&[b' '; 0x50]).await;
    }
    let mut statuses = Vec::new();
    for mut client in slow {
        client.end().await;
        statuses.extend(client.answer().await.map(|answer| answer.status));
    }
    assert!(statuses.contains(&503), "{statuses:?}");
    world.keeps(EVENT).await;
}

#[tokio::test]
async fn a_request_has_one_deadline_for_all_of_it() {
    let short = Duration::from_millis(200);
    let world = World::with(Limits {
        request_deadline: short,
        confirm_deadline: Duration::from_secs(60),
        ..Limits::standard()
    })
    .await;
    world.broker.set(Mode::Hang);
    let began = tokio::time::Instant::now();
    assert_eq!(world.begini(EVENT).await.status, 503);
    assert!(
        began.elapsed() >= short,
        "the request must not be answered before its deadline"
    );
}

#[tokio::test]
async fn who_never_reads_the_answers_is_cut() {
    let world = World::with(hasty()).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // The receive buffer is small, so that unread answers soon fill the buffers of both sockets.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client::over(socket.connect(world.address).await.unwrap());
    // After the answers to these requests, the connection stays open.
    let many = head("GET", "/healthz", &[]).repeat(1_000);
    let mut sent = 0;
    while client.offer(&many).await {
        sent += 1;
        assert!(sent < 10_000, "a client that never reads must be cut off");
    }
    world.keeps(EVENT).await;
}
