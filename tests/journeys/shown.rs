//! What a process shows of itself: readiness and metrics, read over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::servers::ReservedPort;
use serde_json::Value;

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A process's listener for metrics.
pub struct Shown {
    port: ReservedPort,
}

impl Shown {
    /// On a free port.
    pub fn new() -> Self {
        Self {
            port: ReservedPort::choose().unwrap(),
        }
    }

    /// As `--metrics` takes it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// Status and body, when there is an answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.port.number(), path)
    }

    /// The value of one line of the metrics, as `hookbox_store_up`.
    pub fn metric(&self, line: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics")?;
        let value = page
            .lines()
            .find_map(|one| one.strip_prefix(line)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    /// Why the dependency is not ready; `None` when it is, or when there is no answer.
    pub fn trouble(&self, dependency: &str) -> Option<String> {
        let (_, body) = self.get("/readyz")?;
        let body: Value = serde_json::from_str(&body).unwrap();
        let all = body["dependencies"].as_array().unwrap();
        let one = all.iter().find(|one| one["name"] == dependency)?;
        one["why"].as_str().map(str::to_owned)
    }

    /// Whether `/readyz` reports it.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }
}

/// Status and body of one request, when there is an answer.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// How often a condition is checked.
const LOOK: Duration = Duration::from_millis(50);

/// Looks until a condition holds; how long that took. The limit is patience, and no promise.
pub async fn within(limit: Duration, what: &str, condition: impl AsyncFnMut() -> bool) -> Duration {
    look(what, condition, || limit).await
}

/// The same where so many seconds are a promise of hookbox's. A machine that has no time for this
/// process has none for hookbox either: the limit is longer by that.
pub async fn promised(
    limit: Duration,
    what: &str,
    condition: impl AsyncFnMut() -> bool,
) -> Duration {
    let lateness = Lateness::measure();
    look(what, condition, || limit + lateness.allowance()).await
}

async fn look(
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
    limit: impl Fn() -> Duration,
) -> Duration {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        if condition().await {
            return began.elapsed();
        }
        let limit = limit();
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
    }
}
