//! Sends requests over several connections.
//!
//! In a *closed loop*, each connection sends its next request when it has the response to its
//! previous one. This finds the highest rate, and the latency is that of a receiver under full
//! load. In an *open loop*, request number n is due at a fixed time, and its latency counts from
//! that time even when no connection is free. So the latency includes the time for which a request
//! waits for a connection (no coordinated omission). The timer of the client may be late by up to a
//! millisecond, which is part of the latency.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::connection::Connection;
use super::request::Requests;

/// How often a connection that a closed [`Gate`] has stopped checks whether the gate is open again.
const GATE_INTERVAL: Duration = Duration::from_millis(5);

/// A switch that stops sending on all connections while it is closed. It is closed as long as a
/// queue is too long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<AtomicBool>);

impl Gate {
    pub fn set(&self, is_closed: bool) {
        self.0.store(is_closed, Ordering::Relaxed);
    }

    async fn passed(&self) {
        while self.0.load(Ordering::Relaxed) {
            sleep(GATE_INTERVAL).await;
        }
    }
}

/// What to send, and how.
pub(crate) struct Plan {
    pub requests: Requests,
    pub connections: usize,
    /// The numbers of the events to send: each number stands for one event.
    pub numbers: Range<u64>,
    /// The number of requests a second of an open loop; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Whether to make all requests before the first one is sent, so that making them takes no
    /// processor time while requests are sent. They take about 900 bytes each.
    pub made_before: bool,
    /// Whether to keep the receipt of each request, to find its settlement.
    pub keep_receipts: bool,
    pub gate: Gate,
    /// After this time, sending stops even if not all requests are sent; `None` for no limit.
    pub lasts: Option<Duration>,
}

impl Plan {
    /// Returns a closed loop over 64 connections.
    pub fn closed(requests: Requests, numbers: Range<u64>) -> Plan {
        Plan {
            requests,
            connections: 64,
            numbers,
            rate: None,
            made_before: false,
            keep_receipts: false,
            gate: Gate::default(),
            lasts: None,
        }
    }
}

/// One accepted request.
pub(crate) struct Answered {
    pub receipt: String,
    /// When the request was due, in seconds since 1970.
    pub due: f64,
}

/// The result of sending the requests of a plan.
#[derive(Default)]
pub(crate) struct Sent {
    pub accepted: u64,
    pub took: Duration,
    /// The latency of each request in milliseconds.
    pub latencies: Vec<f64>,
    pub receipts: Vec<Answered>,
}

impl Sent {
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }
}

/// What all connections of a plan share.
struct Shared {
    plan: Plan,
    made: Vec<Vec<u8>>,
    next: AtomicU64,
    began: Instant,
    began_at: f64,
}

/// Sends all requests of a plan. An answer other than status 200 is an error: a case chooses a load
/// that hookbox can accept, and requests that were not accepted would make every figure look
/// better.
pub(crate) async fn send(plan: Plan) -> Result<Sent> {
    let made = match plan.made_before {
        true => plan
            .numbers
            .clone()
            .map(|n| plan.requests.bytes(n))
            .collect(),
        false => Vec::new(),
    };
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(Connection::open(plan.requests.port).await?);
    }
    let shared = Arc::new(Shared {
        made,
        next: AtomicU64::new(plan.numbers.start),
        plan,
        began: Instant::now(),
        began_at: now(),
    });
    let mut senders = JoinSet::new();
    for connection in connections {
        senders.spawn(Arc::clone(&shared).run(connection));
    }
    let mut all = Sent::default();
    while let Some(ended) = senders.join_next().await {
        let sent = ended??;
        all.accepted += sent.accepted;
        all.latencies.extend(sent.latencies);
        all.receipts.extend(sent.receipts);
    }
    all.took = shared.began.elapsed();
    Ok(all)
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

impl Shared {
    async fn run(self: Arc<Self>, mut connection: Connection) -> Result<Sent> {
        let plan = &self.plan;
        let mut sent = Sent::default();
        while plan.lasts.is_none_or(|lasts| self.began.elapsed() < lasts) {
            plan.gate.passed().await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.numbers.end {
                break;
            }
            let place = number - plan.numbers.start;
            let made = self.made.get(place as usize);
            let fresh = made.is_none().then(|| plan.requests.bytes(number));
            let due = match plan.rate {
                Some(rate) => {
                    let due = self.began + Duration::from_secs_f64(place as f64 / rate);
                    sleep_until(due).await;
                    due
                }
                None => Instant::now(),
            };
            let request = made.or(fresh.as_ref()).map_or(&[][..], Vec::as_slice);
            let response = connection.exchange(request).await?;
            let status = response.status;
            ensure!(status == 200, "ingest answered {status} under this load");
            sent.accepted += 1;
            sent.latencies.push(due.elapsed().as_secs_f64() * 1e3);
            if let Some(receipt) = response.receipt.filter(|_| plan.keep_receipts) {
                let due = self.began_at + (due - self.began).as_secs_f64();
                sent.receipts.push(Answered { receipt, due });
            }
        }
        Ok(sent)
    }
}
