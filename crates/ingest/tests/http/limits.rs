//! Every limit, from both sides.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_ingest::Limits;

use crate::client::{Client, PATIENCE, chunked, head, post};
use crate::fake::Mode;
use crate::world::{EVENT, World, begini, eventually, hasty, signed};

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
    // By its announcement only: no byte of the body is waited for.
    let mut client = world.client().await;
    let headers = [("content-length", "1001"), ("expect", "100-continue")];
    let answer = client.ask(&head("POST", "/hooks/begini", &headers)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(world.broker.kept().len(), 1);
}

/// Far more than the buffers of two sockets hold: it must be read for the sender to continue.
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
        assert!(client.offer(&request).await, "it was cut while it wrote");
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
    // The sockets' own buffers take some more than the limit.
    while client.offer(&chunk).await {
        sent += 1;
        assert!(sent < 1_000, "it is read without a limit");
    }
    assert!(sent >= 16, "up to the limit it is read");
    let answer = client.answer().await;
    // The answer can be lost to the reset that ends the endless sender.
    if let Some(answer) = answer {
        assert_eq!(answer.status, 413);
    }
    eventually("it is counted as too large", || {
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
        // Host, Content-Length and the signature are headers too.
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
    // Each byte in time, the head never: the deadline is for all of it.
    while dripping.offer(b"P").await && !dripping.closes_within(drip).await {
        drops += 1;
        assert!(drops < 200, "every byte buys more time");
    }
    assert!(began.elapsed() >= limits.head_deadline, "cut too early");
    assert!(silent.closes().await);
    assert!(begun.closes().await);
    // And one that sends nothing more after a good request.
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

    // A trickle, each byte in time, below the slowest rate.
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
        assert!(bytes < 200, "every byte buys more time");
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
    // Its place is free once the server has seen the end.
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
        assert!(tries < 1_000, "the place is never given back");
    }
}

/// Connections that are there before a healthy one, and the places for them.
const IDLE: usize = 200;
const PLACES: usize = 50;

/// Connections without a verified request, however many, make room for the next one.
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
        "for one to be late: {waited:?}"
    );
    // The oldest had to leave: all but the newest, which have the places.
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
    // As soon as what came of the first is held, there is no room for a second.
    let mut tries = 0;
    let refused = loop {
        let answer = world.begini(EVENT).await;
        if answer.status == 503 {
            break answer;
        }
        tries += 1;
        assert!(tries < 1_000, "there is always room");
    };
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(world.begini(b"").await.status, 200, "nothing needs no room");
    drop(holder);
    let mut tries = 0;
    while world.begini(EVENT).await.status != 200 {
        tries += 1;
        assert!(tries < 1_000, "the room is never given back");
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
    // The sender is gone, the body is still held.
    assert_eq!(world.begini(EVENT).await.status, 503);
    assert_eq!(counters.refused_by_reason().get("too_busy"), Some(&1));
    world.broker.set(Mode::Take);
    world.broker.until_kept(1).await;
    let mut tries = 0;
    while world.begini(EVENT).await.status != 200 {
        tries += 1;
        assert!(tries < 1_000, "the room is never given back");
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
        assert_eq!(continued.status, 100, "its body is waited for");
        slow.push(client);
    }
    world.keeps(EVENT).await;
    // What they send counts from then on, and is over the limit for somebody.
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
    assert!(began.elapsed() >= short, "cut too early");
}

#[tokio::test]
async fn who_never_reads_the_answers_is_cut() {
    let world = World::with(hasty()).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // Small, so that the answers are soon more than the sockets hold.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client::over(socket.connect(world.address).await.unwrap());
    // Answers to these leave the connection open.
    let many = head("GET", "/healthz", &[]).repeat(1_000);
    let mut sent = 0;
    while client.offer(&many).await {
        sent += 1;
        assert!(sent < 10_000, "its answers are kept without a limit");
    }
    world.keeps(EVENT).await;
}
