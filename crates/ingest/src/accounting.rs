//! Accounting of an ingest: records what became of every sequence number that the ingest has given
//! out, and reports it to the store through the broker's queue of accept reports.
//!
//! Accounting never delays an event, because no request waits for an accept report. A batch takes
//! its sequence numbers in memory before it is published. Whether the batch was confirmed is
//! recorded in memory too. A separate task publishes the reports. If a batch was not confirmed, its
//! numbers are void, even if the broker may have stored it: its senders were answered 503, so
//! nothing was promised to them.

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

/// The time between two accept reports. If a process is killed, the receipts since its last report
/// stay unreported, which are usually those of less than a second.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The most receipts in one accept report. A report of this size has about 200 KiB, far below the
/// largest message of a broker.
const RECEIPTS_MAX: usize = 5_000;

/// The most receipts that wait to be reported; they take 8 MiB of memory. This limit is reached if
/// the broker takes events but no accept reports for some time: at a thousand receipts a second,
/// for more than eight minutes. Further receipts are counted in a metric and not reported.
const WAITING_MAX: usize = 500_000;

/// The sequence numbers that this ingest has given out and not reported yet.
pub(crate) struct Accounting {
    instance: InstanceId,
    broker: Arc<dyn Broker>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

struct State {
    /// The sequence number of the next envelope.
    next: u64,
    /// The first number that no accept report covers yet.
    next_unreported: u64,
    /// The sequence numbers that are known to be accepted or void and are not reported yet, as
    /// ranges. The key is the first number of each range.
    decided: BTreeMap<u64, NumberRange>,
    /// The number of receipts in `decided`.
    waiting: usize,
}

struct NumberRange {
    count: u64,
    /// The routes and the receipts of an accepted batch. `None` when the numbers are void.
    accepted: Option<(Vec<RouteName>, Vec<ReceiptId>)>,
}

/// Sequence numbers that were given to one batch. If this value is dropped before the batch was
/// confirmed, the numbers are void.
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

    /// Gives the next `count` sequence numbers to a batch.
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

    /// Publishes accept reports until `stop`, and then the closing report with the remaining
    /// receipts.
    pub async fn report(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REPORT_INTERVAL) => {}
            }
            // `stop` may come while a report is published below. So the loop ends only after a
            // round that has begun with `stop`, because only such a round publishes the closing
            // report.
            let closing = stop.is_cancelled();
            while let Some(account) = self.cut(closing) {
                if !self.deliver(&account, &stop).await {
                    tracing::warn!(
                        first = account.first,
                        last = account.last,
                        "could not publish an accept report before shutdown; \
                         `hookbox reconcile` will list these sequence numbers as unreported"
                    );
                    return;
                }
                if account.closing {
                    break;
                }
            }
            if closing {
                return;
            }
        }
    }

    /// Publishes one accept report, and retries until the broker confirms it. Once `stop` is
    /// cancelled, there is only one more try; if that fails, the function returns `false`.
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
                        "could not publish an accept report; ingest will publish it again"
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

    /// Removes the numbers that are known to be accepted or void, from the first unreported number
    /// up to the first number whose publish is still under way, and returns them as one accept
    /// report. Returns `None` when there is nothing to report.
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
        // Void numbers are added to the void range directly before them, so that a long outage
        // takes only one entry of the map.
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
        // No code panics while it holds the lock, so the lock is never poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    /// Records that the batch with these numbers was confirmed, so its requests will be answered
    /// 200.
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
