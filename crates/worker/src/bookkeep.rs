//! Stores the accept reports of ingests, so that the receipts that were accepted can be compared
//! with those that have an outcome.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Delivery, Fault, Queue, Store, Subscription};
use hookbox_event::Account;
use tokio_util::sync::CancellationToken;

use crate::counters::add;
use crate::inner::Inner;
use crate::pause::Pause;

/// How many accept reports may be in flight at once. Each ingest sends one report a second, of 200
/// KiB at most, so this also limits the memory.
const PREFETCH: u16 = 8;

/// How often receipts without an outcome are checked again. There are few of them, and only a
/// person who reads the accounting waits for the result.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Takes accept reports from their queue and stores them.
pub(crate) struct Bookkeeper<S: Store> {
    pub inner: Arc<Inner<S>>,
}

impl<S: Store> Bookkeeper<S> {
    pub async fn run(self, shutdown: CancellationToken) {
        let paused = AtomicBool::new(false);
        let what = "storing the accept reports of ingests";
        let mut pause = Pause::new(what, &paused, &self.inner.rng, &shutdown);
        while !shutdown.is_cancelled() {
            let queue = Queue::Accounts;
            let subscribed = tokio::select! {
                biased;
                subscribed = self.inner.broker.subscribe(&queue, PREFETCH) => subscribed,
                () = self.inner.cut.cancelled() => return,
            };
            let ended = match subscribed {
                Ok(mut subscription) => {
                    let ended = self.take(&mut *subscription, &mut pause, &shutdown).await;
                    subscription.close().await;
                    ended
                }
                Err(fault) => Err(fault),
            };
            if let Err(fault) = ended
                && pause.after(&fault).await.is_err()
            {
                return;
            }
        }
    }

    /// Stores accept reports until the shutdown, or until the broker or the store has a fault.
    /// Reports that are in flight at that time are put back on the queue.
    async fn take(
        &self,
        subscription: &mut dyn Subscription,
        pause: &mut Pause<'_>,
        shutdown: &CancellationToken,
    ) -> Result<(), Fault> {
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                next = subscription.next() => Some(next?),
                _ = check.tick() => None,
            };
            let work = async {
                match next {
                    Some(delivery) => self.keep(delivery).await,
                    None => self.inner.store.check_accounts().await,
                }
            };
            tokio::select! {
                biased;
                // Only a stored report shows that the store is available again. A report that the
                // queue has delivered does not show that.
                worked = work => {
                    worked?;
                    pause.over();
                }
                () = self.inner.cut.cancelled() => return Ok(()),
            }
        }
    }

    async fn keep(&self, delivery: Delivery) -> Result<(), Fault> {
        match Account::decode(&delivery.bytes) {
            Ok(account) => {
                crash_point!("bookkeeper.before_account");
                self.inner.store.account(&account).await?;
                crash_point!("bookkeeper.after_account");
                add(&self.inner.counters.accounts, 1);
            }
            Err(error) => {
                // The sequence numbers of this report stay unreported, which the accounting shows.
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    bytes = delivery.bytes.len(),
                    "an accept report cannot be decoded and is skipped; `hookbox reconcile` lists \
                     its sequence numbers as unreported"
                );
            }
        }
        // If the acknowledgement is lost, the report is redelivered, and the store recognises it.
        delivery.ack().await
    }
}
