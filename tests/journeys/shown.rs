//! What a process reports of itself, its readiness and its metrics, read over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hookbox_testkit::servers::ReservedPort;
use serde_json::Value;

/// The longest time that the test waits for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The listener for metrics of one process.
pub struct Shown {
    port: ReservedPort,
}

impl Shown {
    /// Reserves a free port for the listener.
    pub fn new() -> Self {
        Self {
            port: ReservedPort::choose().unwrap(),
        }
    }

    /// Returns the address of the listener, in the form that the option `--metrics` takes.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// Returns the status and the body of a page, if there is an answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.port.number(), path)
    }

    /// Returns the value of one line of the metrics, such as `hookbox_store_up`.
    pub fn metric(&self, line: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics")?;
        let value = page
            .lines()
            .find_map(|one| one.strip_prefix(line)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    /// Returns why a dependency is not ready. Returns `None` if it is ready, or if there is no
    /// answer.
    pub fn trouble(&self, dependency: &str) -> Option<String> {
        let (_, body) = self.get("/readyz")?;
        let body: Value = serde_json::from_str(&body).unwrap();
        let all = body["dependencies"].as_array().unwrap();
        let one = all.iter().find(|one| one["name"] == dependency)?;
        one["why"].as_str().map(str::to_owned)
    }

    /// Returns whether `/readyz` reports that the process is ready.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }
}

/// Sends one request, and returns the status and the body if there is an answer.
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
