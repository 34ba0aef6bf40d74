//! The book: what became of every number that this ingest has given out, and telling it to the
//! store through the broker's queue of accounts.
//!
//! It is beside the way of an event and never in it: a batch takes its numbers before it is
//! published and says afterwards whether it was confirmed. What was not confirmed is void, and so
//! is what nobody knows: its senders were answered 503, so nothing was promised to them.

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

/// How often is told. It bounds what nobody was told of when an ingest is killed.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Receipts in one account: about 200 KiB, far below what a broker takes as one message.
const RECEIPTS_MAX: usize = 5_000;

/// Receipts that wait to be told of: 8 MiB. Ten minutes of a thousand a second, in which events
/// were accepted and accounts were not. What is over it is not told of, and counted.
const WAITING_MAX: usize = 500_000;

/// What this ingest has answered, as far as it was not told yet.
pub(crate) struct Book {
    instance: InstanceId,
    broker: Arc<dyn Broker>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

struct State {
    /// The next number to give out.
    next: u64,
    /// The next number to tell of.
    untold: u64,
    /// By their first number.
    decided: BTreeMap<u64, Decided>,
    /// Receipts in `decided`.
    waiting: usize,
}

struct Decided {
    count: u64,
    /// None is void.
    accepted: Option<(Vec<RouteName>, Vec<ReceiptId>)>,
}

/// Numbers that were given out. Dropped undecided, they are void.
pub(crate) struct Numbers {
    book: Arc<Book>,
    pub first: u64,
    count: u64,
}

impl Book {
    pub fn new(instance: InstanceId, broker: Arc<dyn Broker>, counters: Arc<Counters>) -> Self {
        Self {
            instance,
            broker,
            counters,
            state: Mutex::new(State {
                next: 1,
                untold: 1,
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
            book: Arc::clone(self),
            first,
            count,
        }
    }

    /// Tells until `stop`, and then what is left.
    pub async fn tell(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TELL_EVERY) => {}
            }
            let closing = stop.is_cancelled();
            while let Some(account) = self.cut(closing) {
                if !self.deliver(&account, &stop).await {
                    tracing::warn!(
                        first = account.first,
                        last = account.last,
                        "what was answered last could not be told to the books; \
                         `hookbox reconcile` cannot vouch for it"
                    );
                    return;
                }
                if account.closing {
                    break;
                }
            }
        }
    }

    /// The same account until it is confirmed; after `stop`, once. `false` when it was not.
    async fn deliver(&self, account: &Account, stop: &CancellationToken) -> bool {
        loop {
            let last = stop.is_cancelled();
            crash_point!("ingest.before_tell");
            match self.broker.tell(account).await {
                Ok(()) => {
                    crash_point!("ingest.after_tell");
                    add(&self.counters.accounts, 1);
                    return true;
                }
                Err(error) => {
                    tracing::debug!(error = describe(&error), "an account is not told yet");
                }
            }
            if last {
                return false;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TELL_EVERY) => {}
            }
        }
    }

    /// Takes what is decided without a gap, from the first number that was not told of.
    fn cut(&self, closing: bool) -> Option<Account> {
        let mut state = self.lock();
        let first = state.untold;
        let (mut accepted, mut receipts) = (Vec::new(), 0);
        while receipts < RECEIPTS_MAX {
            let untold = state.untold;
            let Some(decided) = state.decided.remove(&untold) else {
                break;
            };
            state.untold += decided.count;
            if let Some((routes, ids)) = decided.accepted {
                receipts += ids.len();
                accepted.push(Accepted {
                    routes,
                    first: untold,
                    receipts: ids,
                });
            }
        }
        state.waiting -= receipts;
        self.counters.to_tell.store(state.waiting as u64, Relaxed);
        let closing = closing && state.decided.is_empty();
        let some = state.untold > first || closing;
        some.then(|| Account {
            instance: self.instance,
            first,
            last: state.untold - 1,
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
            add(&self.counters.untold, more as u64);
            None
        } else {
            state.waiting += more;
            self.counters.to_tell.store(state.waiting as u64, Relaxed);
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
        state.decided.insert(first, Decided { count, accepted });
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
        self.book
            .decide(self.first, count, Some((routes, receipts)));
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.book.decide(self.first, self.count, None);
    }
}

#[cfg(test)]
mod tests;
