//! Counts what an ingest has done since its start, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookbox_event::Timestamp;

use crate::latencies::Latencies;

/// The counters of one ingest. They are only displayed, so relaxed memory ordering is enough.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests answered 200.
    pub accepted: AtomicU64,
    /// Genuine requests that were answered 503 because they were not on disk in time.
    pub not_durable: AtomicU64,
    /// Batches that the broker confirmed.
    pub batches: AtomicU64,
    /// The time from giving a batch to the broker until its confirm. Failed publishes are not
    /// counted.
    pub confirms: Latencies,
    /// Requests to a source that have no answer yet.
    pub in_flight: AtomicU64,
    /// Accepted requests that are waiting for a publish slot now.
    pub waiting: AtomicU64,
    /// Whether the ingest is shutting down.
    pub draining: AtomicBool,
    /// Refusals that were not stored for operators, because too many came at once or because the
    /// store was unavailable.
    pub refusals_dropped: AtomicU64,
    /// Accept reports that the broker confirmed.
    pub accounts: AtomicU64,
    /// Accepted receipts that are in no accept report yet.
    pub unreported: AtomicU64,
    /// Accepted receipts dropped from accept reports because the buffer was full.
    pub dropped_from_reports: AtomicU64,
    /// Connections that are open.
    pub connections: AtomicU64,
    /// Open connections without a request under way.
    pub connections_idle: AtomicU64,
    /// Open connections on which no request has been verified yet.
    pub connections_unverified: AtomicU64,
    /// Open connections that were admitted for a health check only.
    pub connections_reserve: AtomicU64,
    /// Connections that were closed to make room for new ones.
    pub connections_closed: AtomicU64,
    /// Connections that were not admitted because their address had used its share.
    pub connections_refused: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    unrouted: Mutex<BTreeMap<String, u64>>,
    keys_end: Mutex<BTreeMap<String, Option<Timestamp>>>,
}

impl Counters {
    /// Counts one refused request under the reason of its refusal.
    pub fn refuse(&self, reason: &'static str) {
        *self.refused().entry(reason).or_default() += 1;
    }

    /// Returns the number of refused requests for each reason.
    pub fn refused_by_reason(&self) -> BTreeMap<&'static str, u64> {
        self.refused().clone()
    }

    /// Counts accepted requests of a source whose events no route selects. A call with the count 0
    /// makes the source appear in the metric, so that a query sees the first such event as an
    /// increase.
    pub fn add_unrouted(&self, source: &str, count: u64) {
        let mut unrouted = lock(&self.unrouted);
        match unrouted.get_mut(source) {
            Some(total) => *total += count,
            None => {
                unrouted.insert(source.to_owned(), count);
            }
        }
    }

    /// Returns the number of accepted requests whose events no route selects, for each source.
    pub fn unrouted_by_source(&self) -> BTreeMap<String, u64> {
        lock(&self.unrouted).clone()
    }

    /// Returns when the last key of each source expires; `None` for a source with a key that never
    /// expires.
    pub fn keys_end(&self) -> BTreeMap<String, Option<Timestamp>> {
        lock(&self.keys_end).clone()
    }

    /// Records when the last key of a source expires; `None` if a key of the source never expires.
    pub fn set_keys_end(&self, source: &str, end: Option<Timestamp>) {
        lock(&self.keys_end).insert(source.to_owned(), end);
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        lock(&self.refused)
    }
}

/// Locks a map, even after a thread has panicked while it held the lock. Each change of the map is
/// one step, so after a panic the map has its old or its new value.
fn lock<T>(values: &Mutex<T>) -> MutexGuard<'_, T> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Counts a request as in flight until this value is dropped, however the request ends.
pub(crate) struct InFlight(Arc<Counters>);

impl InFlight {
    pub fn new(counters: &Arc<Counters>) -> Self {
        add(&counters.in_flight, 1);
        Self(Arc::clone(counters))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
