//! Store and forward: while the broker takes nothing, a second broker on this machine's own disk
//! does (a SQLite file), and what it took is forwarded in order of arrival when the first is back.
//!
//! It is a broker over two brokers, so nothing else of ingest knows of it, and the promise of a
//! publish is the same: `Ok` means on disk. Once something is kept, everything is, until all of
//! it is forwarded: nothing overtakes. What timed out may be at the broker and in the spool; it
//! is one receipt, so the store gives it one outcome.
//!
//! Accounts go the same way, and are forwarded after everything that they tell of.

mod counters;
mod forward;
mod late;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use hookbox_crash::crash_point;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, PublishError, Queue, Readiness, Subscription, describe,
};
use hookbox_event::{Account, RouteName};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use counters::SpoolCounters;
pub use late::LateBroker;

use crate::counters::add;

/// A broker that keeps on this machine's disk what the other cannot take now.
pub struct Spooling {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

struct Shared {
    broker: Arc<dyn Broker>,
    spool: Arc<dyn Broker>,
    counters: Arc<SpoolCounters>,
    /// Held for reading by whoever keeps something, for writing by whoever ends the keeping.
    keeping: RwLock<()>,
    stop: CancellationToken,
}

impl Spooling {
    /// Forwards what an earlier process has left in the spool, and keeps what comes until then.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub async fn start(broker: Arc<dyn Broker>, spool: Arc<dyn Broker>) -> Result<Self, Fault> {
        let shared = Arc::new(Shared {
            broker,
            spool,
            counters: Arc::default(),
            keeping: RwLock::default(),
            stop: CancellationToken::new(),
        });
        let depths = shared.look().await?;
        if depths.iter().any(|depth| waiting(depth) > 0) {
            shared.counters.spooling.store(true, Ordering::SeqCst);
            tracing::warn!(
                events = shared.counters.events.load(Ordering::Relaxed),
                "the spool holds events of an earlier process; they are forwarded first"
            );
        }
        let tasks = TaskTracker::new();
        for depth in depths {
            match depth.queue {
                // Nothing gives up a message of the spool.
                Queue::Dead => {}
                queue @ (Queue::Route(_) | Queue::Accounts) => {
                    tasks.spawn(forward::forward(Arc::clone(&shared), queue));
                }
            }
        }
        tasks.spawn(forward::watch(Arc::clone(&shared)));
        Ok(Self { shared, tasks })
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<SpoolCounters> {
        Arc::clone(&self.shared.counters)
    }
}

impl Shared {
    fn takes_now(&self) -> bool {
        !self.counters.spooling.load(Ordering::SeqCst)
            && self.broker.readiness() == Readiness::Ready
    }

    /// Keeps something. `events` is how much it is worth in the counters.
    async fn keep(
        &self,
        events: u64,
        kept: impl Future<Output = Result<(), PublishError>>,
    ) -> Result<(), PublishError> {
        let _keeping = self.keeping.read().await;
        if !self.counters.spooling.swap(true, Ordering::SeqCst) {
            tracing::warn!("the broker takes nothing now; what comes is kept in the spool");
        }
        crash_point!("spool.before_keep");
        kept.await?;
        crash_point!("spool.after_keep");
        add(&self.counters.kept, events);
        add(&self.counters.events, events);
        Ok(())
    }

    /// How much is in the spool.
    async fn look(&self) -> Result<Vec<Depth>, Fault> {
        let depths = self.spool.depths().await?;
        let routes = depths.iter().filter(|depth| match depth.queue {
            Queue::Route(_) => true,
            Queue::Dead | Queue::Accounts => false,
        });
        let events = routes.filter_map(|depth| depth.events).sum();
        self.counters.events.store(events, Ordering::Relaxed);
        Ok(depths)
    }
}

/// Messages of one queue, in hand or not.
fn waiting(depth: &Depth) -> u64 {
    depth.ready.unwrap_or(0) + depth.unsettled.unwrap_or(0)
}

#[async_trait]
impl Broker for Spooling {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        let shared = &self.shared;
        if shared.takes_now() {
            match shared.broker.publish(routes, batch).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::info!(
                    kind = error.kind.as_str(),
                    error = describe(&error),
                    "the broker did not take a batch of {}; it is kept in the spool",
                    batch.count
                ),
            }
        }
        let events = (batch.count * routes.len()) as u64;
        let kept = shared.spool.publish(routes, batch);
        shared.keep(events, kept).await
    }

    async fn tell(&self, account: &Account) -> Result<(), PublishError> {
        let shared = &self.shared;
        if shared.takes_now() && shared.broker.tell(account).await.is_ok() {
            return Ok(());
        }
        shared.keep(0, shared.spool.tell(account)).await
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        self.shared.broker.subscribe(queue, prefetch).await
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        self.shared.broker.depths().await
    }

    fn readiness(&self) -> Readiness {
        if self.shared.takes_now() {
            return Readiness::Ready;
        }
        match self.shared.spool.readiness() {
            Readiness::Ready => Readiness::Ready,
            Readiness::NotReady(why) => Readiness::NotReady(format!(
                "the broker takes nothing now, and nor does the spool: {why}"
            )),
        }
    }

    async fn close(&self) {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let left = self.shared.look().await;
        let left: u64 = left.iter().flatten().map(waiting).sum();
        if left > 0 {
            tracing::warn!(
                messages = left,
                "{left} messages stay in the spool; the next start forwards them"
            );
        }
        self.shared.broker.close().await;
        self.shared.spool.close().await;
    }
}
