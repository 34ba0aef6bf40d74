//! Store and forward: while the main broker takes no publishes, events go to a spool, which is a
//! second broker in a SQLite file on this machine. When the main broker is available again, the
//! events are forwarded to it in order of arrival.
//!
//! The spool and the main broker together act as one broker, so the other code of ingest needs no
//! knowledge of the spool. Each queue is spooled by itself: the queue of a route that takes nothing
//! keeps only its own messages in the spool. An event for several routes goes to the broker for
//! some of them and into the spool for the others. These invariants hold for each queue:
//!
//! - `Ok` from a publish means that the message is on disk for every one of its queues, at the
//!   broker or in the spool.
//! - Once a message is spooled, every later message of its queue is spooled too, until all are
//!   forwarded. So no message overtakes another. The only exception is a message that exceeds a
//!   limit of the broker, and that the broker therefore refuses: later messages overtake it.
//! - A publish that the broker did not take keeps its position in the order of arrival until it is
//!   spooled. What is spooled behind it waits for that.
//! - Spooling ends only when the spool holds nothing of the queue, no publish to it is on its way
//!   to the broker or into the spool, and new messages of the queue wait. It also ends, at once,
//!   when a full spool has stored nothing of the queue.
//! - A message leaves the spool after the broker has confirmed it. A message whose publish timed
//!   out may be both at the broker and in the spool, and a message that could not be deleted is
//!   forwarded twice. Both copies have the same receipt, for which the store records only one
//!   outcome.
//! - An accept report goes to the broker after every event that it covers, except refused ones:
//!   otherwise an event that waits in the spool would count as missing. The accept reports behind
//!   it wait for it, even if they cover only other routes: otherwise its range of sequence numbers
//!   would count as unreported. So while a route takes nothing, the accept reports from its first
//!   event on wait in the spool.
//!
//! The spool empties under any load: while messages are being forwarded, two messages leave the
//! spool for each message of their queue that enters it. New messages wait while the last few
//! spooled messages of their queue are forwarded.

mod accounts;
mod close;
mod counters;
mod forward;
mod forwarding_queue;
mod gate;
mod gate_state;
mod kept;
mod late;
mod pause;
mod publishing;
mod shared;

use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::{Batch, Broker, Depth, Fault, PublishError, Queue, Readiness, Subscription};
use hookbox_event::{Account, RouteName, Witness};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use counters::SpoolCounters;
pub use late::{LateBroker, Reason};

use forwarding_queue::ForwardingQueue;
use gate::Gate;
use shared::{Shared, waiting};

/// A broker that spools to this machine's disk what the main broker cannot take now.
pub struct Spooling {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl Spooling {
    /// Starts forwarding what an earlier process has left in the spool. New messages of a queue are
    /// spooled until all of that queue is forwarded.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub async fn start(broker: Arc<dyn Broker>, spool: Arc<dyn Broker>) -> Result<Self, Fault> {
        let depths = spool.depths().await?;
        let dead = depths.iter().find(|depth| depth.queue == Queue::Dead);
        let dead = dead.map_or(0, waiting);
        if dead > 0 {
            tracing::error!(
                messages = dead,
                "the spool holds {dead} messages that an earlier version gave up on; they are \
                 not forwarded"
            );
        }
        let forwarded: Vec<&Depth> = depths.iter().filter(|it| is_forwarded(&it.queue)).collect();
        let queues = forwarded.iter().map(|it| it.queue.clone());
        let waits = forwarded.iter().filter(|it| waiting(it) > 0);
        let waits: Vec<Queue> = waits.map(|it| it.queue.clone()).collect();
        let is_empty = waits.is_empty();
        let shared = Arc::new(Shared {
            broker,
            spool,
            counters: Arc::default(),
            gate: Gate::new(waits),
            queues: queues.map(|it| (it, ForwardingQueue::default())).collect(),
            stop: CancellationToken::new(),
        });
        if !is_empty {
            let contents = shared.contents().await?;
            let events: u64 = contents.values().map(|left| left.events).sum();
            tracing::warn!(
                events,
                "the spool holds events of an earlier process; they are forwarded first"
            );
        }
        let tasks = TaskTracker::new();
        for queue in shared.queues.keys() {
            match queue {
                Queue::Route(route) => {
                    tasks.spawn(forward::forward(Arc::clone(&shared), route.clone()));
                }
                Queue::Accounts => {
                    tasks.spawn(accounts::forward(Arc::clone(&shared)));
                }
                Queue::Dead | Queue::Witness => {}
            }
        }
        tasks.spawn(close::watch(Arc::clone(&shared)));
        Ok(Self { shared, tasks })
    }

    /// Returns the counters since the start of the process.
    pub fn counters(&self) -> Arc<SpoolCounters> {
        Arc::clone(&self.shared.counters)
    }
}

#[async_trait]
impl Broker for Spooling {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        publishing::batch(&self.shared, routes, batch).await
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        publishing::report(&self.shared, account).await
    }

    async fn publish_witness(&self, witness: &Witness) -> Result<(), PublishError> {
        self.shared.broker.publish_witness(witness).await
    }

    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        self.shared.broker.witnesses().await
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
        if self.shared.is_ready() && self.shared.is_any_route_direct() {
            return Readiness::Ready;
        }
        match self.shared.spool.readiness() {
            Readiness::Ready => Readiness::Ready,
            Readiness::NotReady { kind, why } => Readiness::not_ready(
                kind,
                format!("neither the broker nor the spool takes publishes now: {why}"),
            ),
        }
    }

    async fn close(&self) {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let depths = self.shared.spool.depths().await;
        let left: u64 = depths.iter().flatten().map(waiting).sum();
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

/// Returns whether the messages of this queue of the spool are forwarded. The spool never gives up
/// a message, so nothing is added to its queue of dead letters. Witness messages are not spooled.
fn is_forwarded(queue: &Queue) -> bool {
    match queue {
        Queue::Route(_) | Queue::Accounts => true,
        Queue::Dead | Queue::Witness => false,
    }
}
