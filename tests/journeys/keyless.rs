//! Senders that have no key, and therefore can send nothing that is accepted, use as many
//! connections and as much memory as they can. A genuine sender beside them must lose no request.

use std::net::SocketAddr;
use std::time::Duration;

use hookbox_testkit::binary;
use hookbox_testkit::eventually::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use crate::deployment::{Deployment, Pair, Process};
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The interval at which each connection that is kept open sends a health request.
const HEALTH_INTERVAL: Duration = Duration::from_millis(300);

/// How long a sender without a key waits before it connects again, after ingest has closed its
/// connection.
const AGAIN: Duration = Duration::from_millis(20);

/// The length of a body that is never completed: one byte less than the largest body that is
/// accepted.
const UNFINISHED: usize = 1024 * 1024 - 1;

const OPEN: &str = "hookbox_connections{state=\"open\"}";
const CLOSED: &str = "hookbox_connections_closed_total{reason=\"to_make_room\"}";
const BUSY: &str = "hookbox_requests_not_accepted_total{reason=\"address_busy\"}";

/// Connects from the address 127.0.0.HOST.
async fn connect(host: u8, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, host], 0).into())?;
    socket
        .connect(SocketAddr::from(([127, 0, 0, 1], port)))
        .await
}

/// Sends a request whose body lacks the last byte, waits for the answer or the end of the
/// connection, and starts over.
async fn send_unfinished(host: u8, port: u16) {
    let head = format!(
        "POST /hooks/begini HTTP/1.1\r\nHost: a\r\ncontent-length: {}\r\n\r\n",
        UNFINISHED + 1
    );
    let body = vec![b' '; UNFINISHED];
    loop {
        if let Ok(mut stream) = connect(host, port).await {
            let sent = async {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
                stream.read(&mut [0; 1024]).await
            };
            let _ = sent.await;
        }
        sleep_until(Instant::now() + AGAIN).await;
    }
}

/// Keeps a connection open with health requests, and connects again when it is closed.
async fn keep_asking(host: u8, port: u16) {
    loop {
        if let Ok(mut stream) = connect(host, port).await {
            let mut ticks = interval(HEALTH_INTERVAL);
            while stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .is_ok()
            {
                if stream.read(&mut [0; 1024]).await.unwrap_or(0) == 0 {
                    break;
                }
                ticks.tick().await;
            }
        }
        sleep_until(Instant::now() + AGAIN).await;
    }
}

/// Sends events as a genuine sender, in three loads that each open new connections, and checks that
/// all are accepted.
fn nothing_is_lost(deployment: &Deployment) {
    let url = format!("http://127.0.0.1:{}", deployment.port);
    for seed in ["1", "2", "3"] {
        let load = ["generate", "--url", &url, "--count", "150", "--seed", seed];
        let load = [&load[..], &["--concurrency", "16", "--retries", "0"]].concat();
        let tally = deployment.json(&load);
        assert_eq!(tally["accepted"], 150, "{tally:#}");
        assert_eq!(tally["undelivered"], 0, "{tally:#}");
    }
}

fn begin(deployment: &Deployment, shown: &Shown, descriptors: u32) -> Process {
    let command = deployment.command(&["ingest", "--metrics", &shown.address()]);
    let limited = binary::limited(&format!("ulimit -n {descriptors}"), &command);
    deployment.spawn_ingest(limited)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_one_address_cost_no_genuine_request() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let shown = Shown::new();
    let ingest = begin(&deployment, &shown, 1_000);
    let mut senders = JoinSet::new();
    for _ in 0..68 {
        senders.spawn(send_unfinished(2, deployment.port));
    }
    within(
        PATIENCE,
        "ingest must refuse requests of an address that has used its share of memory",
        async || shown.metric(BUSY).is_some_and(|refused| refused >= 64.0),
    )
    .await;
    nothing_is_lost(&deployment);
    senders.shutdown().await;
    ingest.stop();
    deployment.finish().await;
}

/// Checks that a genuine sender loses no request while others keep connections open with health
/// requests, until they reach the limit of connections in the config or the operating system's
/// limit of descriptors.
async fn idle_connections_cost_nothing(connections: u32, descriptors: u32) {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let limit = format!("[ingest]\nconnections = {connections}\n");
    deployment.write("hookbox.toml", &config.replace("[ingest]\n", &limit));
    let shown = Shown::new();
    let ingest = begin(&deployment, &shown, descriptors);
    let mut senders = JoinSet::new();
    for host in 2..=21 {
        for _ in 0..20 {
            senders.spawn(keep_asking(host, deployment.port));
        }
    }
    within(
        PATIENCE,
        "ingest must close idle connections to make room for others",
        async || {
            shown.metric(CLOSED).is_some_and(|closed| closed > 0.0)
                && shown.metric(OPEN).is_some_and(|open| open > 100.0)
        },
    )
    .await;
    nothing_is_lost(&deployment);
    within(PATIENCE, "ingest must be ready", async || shown.is_ready()).await;
    senders.shutdown().await;
    ingest.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_for_health_cost_no_genuine_request() {
    idle_connections_cost_nothing(320, 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_take_all_descriptors_cost_no_genuine_request() {
    idle_connections_cost_nothing(4_096, 256).await;
}
