//! Connections of senders and load balancers. Ingest must not close one that is kept open between
//! two requests at the moment at which the next request arrives, nor one that still sends a body.

use std::time::Duration;

use hookbox_testkit::servers::Nginx;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::deployment::{Deployment, Pair};
use crate::signed::Signed;

/// The number of connections, each of which is used twice.
const CONNECTIONS: u32 = 120;

/// The shortest and the longest time for which a connection is idle between its two requests. The
/// deadline for a request head, 5 s, lies between them.
const IDLE: (Duration, Duration) = (Duration::from_millis(4_950), Duration::from_millis(5_050));

/// The longest time that the test waits for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// The size of a large body in bytes, which is less than what nginx accepts.
const LARGE: usize = 1_000_000;

/// Sends two requests over one connection, with `idle` between them, and returns their statuses.
async fn twice(port: u16, request: Vec<u8>, idle: Duration) -> Vec<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let answered = timeout(ANSWER_MAX, answer(&mut stream, &request)).await;
        let Ok(Some(status)) = answered else {
            break;
        };
        statuses.push(status);
        // The connection must be idle for exactly this time between the two requests. So the test
        // sleeps, and does not wait for a condition.
        sleep_until(Instant::now() + idle).await;
    }
    statuses
}

/// Sends one request and returns the status of its answer, or `None` if the connection ends without
/// an answer.
async fn answer(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split_once("content-length: ")?.1;
    let length = length.split("\r\n").next()?.parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    head.split(' ').nth(1)?.parse().ok()
}

/// Sends two requests over each connection, and checks that all requests are answered 200.
async fn all_are_answered(port: u16, signed: &Signed) {
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        let idle = IDLE.0 + (IDLE.1 - IDLE.0) * number / CONNECTIONS;
        connections.spawn(twice(port, signed.bytes().to_vec(), idle));
    }
    let statuses = connections.join_all().await.concat();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(answered, 2 * CONNECTIONS as usize, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_idle_is_answered() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let signed = Signed::catch(&deployment, &[]);
    let ingest = deployment.start_ingest();
    all_are_answered(deployment.port, &signed).await;
    ingest.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancer_that_keeps_connections_loses_nothing() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let signed = Signed::catch(&deployment, &[]);
    let ingest = deployment.start_ingest();
    let nginx = Nginx::before(deployment.port).unwrap();
    all_are_answered(nginx.port(), &signed).await;
    let url = format!("http://127.0.0.1:{}", nginx.port());
    let load = [
        "generate",
        "--url",
        &url,
        "--count",
        "2000",
        "--retries",
        "0",
    ];
    let tally = deployment.json(&load);
    assert_eq!(tally["undelivered"], 0, "{tally:#}");
    assert_eq!(tally["accepted"], 2_000, "{tally:#}");
    ingest.stop();
    deployment.finish().await;
}

/// nginx sends a whole body before it reads the answer. If ingest closes the connection before it
/// has read the body, nginx answers 502, and may send other requests to other ingests for some
/// seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_to_no_source_is_answered_through_a_load_balancer() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let ingest = deployment.start_ingest();
    let nginx = Nginx::before(deployment.port).unwrap();
    let head = format!(
        "POST /hooks/nosuch HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LARGE}\r\n\r\n"
    );
    let request = [head.into_bytes(), vec![b' '; LARGE]].concat();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(("127.0.0.1", nginx.port()))
            .await
            .unwrap();
        let answered = timeout(ANSWER_MAX, answer(&mut stream, &request)).await;
        assert_eq!(answered.ok().flatten(), Some(404));
    }
    ingest.stop();
    deployment.finish().await;
}
