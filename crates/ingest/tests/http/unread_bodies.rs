//! Tests requests that are refused before their body is read to its end. Most senders and proxies
//! read no answer before they have sent the whole body, and a connection that is closed with unread
//! bytes is reset. So ingest must read the rest of the body before it answers.

use std::time::Duration;

use hookbox_ingest::Limits;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::client::{PATIENCE, chunked, head, post};
use crate::world::{World, begini};

/// A body size in bytes. Sockets buffer less, so a sender can send it all only if hookbox reads.
const LARGE: usize = Limits::BODY_MAX_CAP;

/// Sends a whole request from the address 127.0.0.`host` before it reads the answer. Checks that
/// the connection is not reset, and returns the status of the answer.
async fn status(world: &World, host: u8, request: &[u8]) -> u16 {
    let mut client = world.client_from(host).await;
    assert!(
        client.offer(request).await,
        "the connection must not be cut while the sender still sends"
    );
    let answer = client.answer().await.expect("an answer");
    if answer.header("connection") == Some("close") {
        assert!(client.ends_without_reset().await);
    }
    answer.status
}

/// Returns the head of a request that announces a large body.
fn announcing(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let length = LARGE.to_string();
    let mut all = vec![("content-length", length.as_str())];
    all.extend_from_slice(headers);
    head(method, path, &all)
}

/// Requests that belong to no source, or have a wrong method.
const STRANGE: [(&str, &str, u16); 6] = [
    ("POST", "/hooks/nosuch", 404),
    ("POST", "/hooks/%ff", 404),
    ("POST", "/elsewhere", 404),
    ("PUT", "/hooks/nosuch", 405),
    ("PUT", "/hooks/begini", 405),
    ("POST", "/healthz", 405),
];

#[tokio::test]
async fn the_body_of_a_request_to_no_source_is_read() {
    let world = World::new().await;
    let body = vec![b' '; LARGE];
    for (method, path, expect) in STRANGE {
        let request = [announcing(method, path, &[]), body.clone()].concat();
        let status = status(&world, 1, &request).await;
        assert_eq!(status, expect, "{method} {path}");
    }
    world.nothing_published();
}

/// Reading the body would make the server send `100 Continue`, which asks for the body.
#[tokio::test]
async fn a_body_is_not_asked_for_when_it_would_be_refused() {
    let world = World::new().await;
    for (method, path, expect) in STRANGE {
        let request = announcing(method, path, &[("expect", "100-continue")]);
        let mut client = world.client().await;
        let answer = client.ask(&request).await;
        assert_eq!(answer.status, expect, "{method} {path}");
        assert!(client.ends_without_reset().await, "{method} {path}");
    }
    world.nothing_published();
}

#[tokio::test]
async fn the_body_of_a_request_is_read_while_the_process_drains() {
    let world = World::new().await;
    // The drain starts, and the listener stays open.
    world.ingest.finish().await;
    assert_eq!(status(&world, 1, &begini(&vec![b' '; LARGE])).await, 503);
    world.nothing_published();
}

#[tokio::test]
async fn a_body_for_which_there_is_no_memory_is_read() {
    let world = World::with(Limits {
        body_max: LARGE,
        body_bytes_in_flight_max: LARGE,
        // The body that keeps the memory is never completed.
        body_grace: PATIENCE,
        body_deadline: PATIENCE,
        request_deadline: PATIENCE,
        ..Limits::standard()
    })
    .await;
    let mut holder = world.client_from(2).await;
    holder.send(&announcing("POST", "/hooks/begini", &[])).await;
    holder.send(&[b' '; 5_000]).await;
    let body = vec![b' '; LARGE];
    let head = head("POST", "/hooks/begini", &[("transfer-encoding", "chunked")]);
    // The memory is found full when the length is announced, and when too many chunks have arrived.
    let announced = post("/hooks/begini", &[], &body);
    let chunked = [head, chunked(&body)].concat();
    let refused = || world.ingest.counters().refused_by_reason();
    for (host, reason) in [(1, "too_busy"), (2, "address_busy")] {
        for request in [&announced, &chunked] {
            let before = refused().get(reason).copied().unwrap_or(0);
            let mut tries = 0;
            // The request has no signature, so it is answered 403 as long as there is memory.
            while status(&world, host, request).await != 503 {
                tries += 1;
                assert!(tries < 1_000, "a second body must be refused");
            }
            assert_eq!(refused().get(reason), Some(&(before + 1)));
        }
    }
    world.nothing_published();
}

/// One chunk of 64 KiB.
fn chunk() -> Vec<u8> {
    [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat()
}

/// The body exceeds the limit of 1 MiB after 3.2 s, which is more than the two seconds for which
/// the rate of a body does not count.
#[tokio::test(start_paused = true)]
async fn chunks_over_the_limit_may_arrive_as_slowly_as_those_below_it() {
    let (world, mut served) = (World::new().await, JoinSet::new());
    let mut client = world.piped(&mut served).await;
    let headers = [("transfer-encoding", "chunked")];
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    let mut ticks = interval(Duration::from_millis(200));
    for number in 1..=24 {
        ticks.tick().await;
        assert!(
            client.offer(&chunk()).await,
            "the connection must not be cut at chunk {number}, while the sender still sends"
        );
    }
    assert!(client.offer(b"0\r\n\r\n").await);
    assert_eq!(client.answer().await.unwrap().status, 413);
    assert!(client.closes().await);
    world.nothing_published();
    served.join_next().await.unwrap().unwrap();
}
