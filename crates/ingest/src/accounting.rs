//! Accounting of an ingest: what became of every sequence number that it has given out, and
//! reporting it to the store through the broker's queue of accept reports.
//!
//! It is never on the path of an event: a batch takes its numbers before it is published and
//! records afterwards whether it was confirmed. What was not confirmed is void, and so is what is
//! unknown: its senders were answered 503, so nothing was promised to them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Broker, describe};
use hookbox_event::{Accepted, Account, InstanceId, ReceiptId, RouteName};
use tokio_util::sync::CancellationToken;

use crate::Counters;
use crate::counters::add;

/// Report interval. Bounds how many accepted receipts go unreported when the process is killed.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Receipts in one accept report: about 200 KiB, far below what a broker takes as one message.
const RECEIPTS_MAX: usize = 5_000;

/// Most receipts that wait to be reported: 8 MiB. That is ten minutes at a thousand a second in
/// which the broker took events and no accept reports. Receipts beyond it are counted and not
/// reported.
const WAITING_MAX: usize = 500_000;

/// The sequence numbers that this ingest has given out and not reported yet.
pub(crate) struct Accounting {
    instance: InstanceId,
    broker: Arc<dyn Broker>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

struct State {
    /// The next number to give out.
    next: u64,
    /// The next number to report.
    next_unreported: u64,
    /// By their first number.
    decided: BTreeMap<u64, NumberRange>,
    /// Receipts in `decided`.
    waiting: usize,
}

struct NumberRange {
    count: u64,
    /// `None` is void.
    accepted: Option<(Vec<RouteName>, Vec<ReceiptId>)>,
}

/// Numbers that were given out. Dropped undecided, they are void.
pub(crate) struct Numbers {
    accounting: Arc<Accounting>,
    pub first: u64,
    count: u64,
}

impl Accounting {
    pub fn new(instance: InstanceId, broker: Arc<dyn Broker>, counters: Arc<Counters>) -> Self {
        Self {
            instance,
            broker,
            counters,
            state: Mutex::new(State {
                next: 1,
                next_unreported: 1,
                decided: BTreeMap::new(),
                waiting: 0,
            }),
        }
    }

    /// Gives out numbers for a batch.
    pub fn numbers(self: &Arc<Self>, count: usize) -> Numbers {
        let mut state = self.lock();
        let (first, count) = (state.next, count as u64);
        state.next += count;
        Numbers {
            accounting: Arc::clone(self),
            first,
            count,
        }
    }

    /// Publishes accept reports until `stop`, and then one for the receipts that are left.
    pub async fn report(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REPORT_INTERVAL) => {}
            }
            let closing = stop.is_cancelled();
            while let Some(account) = self.cut(closing) {
                if !self.deliver(&account, &stop).await {
                    tracing::warn!(
                        first = account.first,
                        last = account.last,
                        "could not publish the final accept report before shutdown; \
                         `hookbox reconcile` will list these sequence numbers as unreported"
                    );
                    return;
                }
                if account.closing {
                    break;
                }
            }
        }
    }

    /// Publishes one accept report until it is confirmed; after `stop`, once. `false` when it was
    /// not confirmed.
    async fn deliver(&self, account: &Account, stop: &CancellationToken) -> bool {
        loop {
            let last = stop.is_cancelled();
            crash_point!("ingest.before_report");
            match self.broker.publish_report(account).await {
                Ok(()) => {
                    crash_point!("ingest.after_report");
                    add(&self.counters.accounts, 1);
                    return true;
                }
                Err(error) => {
                    tracing::debug!(
                        error = describe(&error),
                        "could not publish an accept report; it is tried again"
                    );
                }
            }
            if last {
                return false;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REPORT_INTERVAL) => {}
            }
        }
    }

    /// Takes what is decided without a gap, from the first number that was not reported.
    fn cut(&self, closing: bool) -> Option<Account> {
        let mut state = self.lock();
        let first = state.next_unreported;
        let (mut accepted, mut receipts) = (Vec::new(), 0);
        while receipts < RECEIPTS_MAX {
            let number = state.next_unreported;
            let Some(decided) = state.decided.remove(&number) else {
                break;
            };
            state.next_unreported += decided.count;
            if let Some((routes, ids)) = decided.accepted {
                receipts += ids.len();
                accepted.push(Accepted {
                    routes,
                    first: number,
                    receipts: ids,
                });
            }
        }
        state.waiting -= receipts;
        self.counters
            .unreported
            .store(state.waiting as u64, Relaxed);
        let closing = closing && state.decided.is_empty();
        let some = state.next_unreported > first || closing;
        some.then(|| Account {
            instance: self.instance,
            first,
            last: state.next_unreported - 1,
            closing,
            accepted,
        })
    }

    fn decide(&self, first: u64, count: u64, accepted: Option<(Vec<RouteName>, Vec<ReceiptId>)>) {
        if count == 0 {
            return;
        }
        let mut state = self.lock();
        let more = accepted.as_ref().map_or(0, |(_, ids)| ids.len());
        let accepted = if state.waiting + more > WAITING_MAX {
            add(&self.counters.dropped_from_reports, more as u64);
            None
        } else {
            state.waiting += more;
            self.counters
                .unreported
                .store(state.waiting as u64, Relaxed);
            accepted
        };
        // A long outage is one row: void numbers join those before them.
        if accepted.is_none()
            && let Some((start, before)) = state.decided.range_mut(..first).next_back()
            && before.accepted.is_none()
            && start + before.count == first
        {
            before.count += count;
            return;
        }
        state.decided.insert(first, NumberRange { count, accepted });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    /// Its batch was confirmed, and will be answered 200.
    pub fn confirmed(mut self, routes: Vec<RouteName>, receipts: Vec<ReceiptId>) {
        let count = std::mem::take(&mut self.count);
        self.accounting
            .decide(self.first, count, Some((routes, receipts)));
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.accounting.decide(self.first, self.count, None);
    }
}

#[cfg(test)]
mod tests;
