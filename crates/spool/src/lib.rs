//! Store and forward: while the main broker takes no publishes, events go to a spool, which is a
//! second broker in a SQLite file on this machine. When the main broker is available again, the
//! events are forwarded to it in order of arrival.
//!
//! The spool and the main broker together act as one broker, so the other code of ingest needs no
//! knowledge of the spool. As with every broker, `Ok` from a publish means that the message is on
//! disk. Once an event is spooled, every later event is spooled too, until all are forwarded. So no
//! event overtakes another. The only exception is a message that exceeds a limit of the broker, and
//! that the broker therefore refuses: later messages overtake it. A message whose publish timed out
//! may be both at the broker and in the spool. Both copies have the same receipt, for which the
//! store records only one outcome.
//!
//! The spool empties under any load: while messages are being forwarded, two messages leave the
//! spool for each message that enters it. New events wait while the last few spooled events are
//! forwarded.
//!
//! Accept reports are spooled in the same way. Each is forwarded after every event that it covers.

mod accounts;
mod close;
mod counters;
mod forward;
mod forwarding_queue;
mod gate;
mod kept;
mod late;
mod pause;
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
    /// Starts forwarding what an earlier process has left in the spool. New events are spooled
    /// until all of that is forwarded.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub async fn start(broker: Arc<dyn Broker>, spool: Arc<dyn Broker>) -> Result<Self, Fault> {
        let depths = spool.depths().await?;
        let is_empty = depths.iter().all(|depth| waiting(depth) == 0);
        let dead = depths.iter().find(|depth| depth.queue == Queue::Dead);
        let dead = dead.map_or(0, waiting);
        if dead > 0 {
            tracing::error!(
                messages = dead,
                "the spool holds {dead} messages that an earlier version gave up on; they are \
                 not forwarded"
            );
        }
        let routes = depths.into_iter().filter_map(|depth| match depth.queue {
            Queue::Route(route) => Some(route),
            // Only the queues of routes have a forwarder. The spool never gives up a message, so
            // nothing is added to its queue of dead letters. A separate task forwards accept
            // reports. Witness messages are not spooled.
            Queue::Dead | Queue::Accounts | Queue::Witness => None,
        });
        let routes: Vec<RouteName> = routes.collect();
        let queue = |route: &RouteName| (route.clone(), ForwardingQueue::default());
        let shared = Arc::new(Shared {
            broker,
            spool,
            counters: Arc::default(),
            gate: Gate::new(!is_empty),
            queues: routes.iter().map(queue).collect(),
            stop: CancellationToken::new(),
        });
        if !is_empty {
            tracing::warn!(
                events = shared.contents().await?.events,
                "the spool holds events of an earlier process; they are forwarded first"
            );
        }
        let tasks = TaskTracker::new();
        for route in routes {
            tasks.spawn(forward::forward(Arc::clone(&shared), route));
        }
        tasks.spawn(accounts::forward(Arc::clone(&shared)));
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
        let shared = &self.shared;
        shared.make_room(routes).await;
        let given = shared.broker.publish(routes, batch);
        let kept = shared.spool.publish(routes, batch);
        let events = (batch.count * routes.len()) as u64;
        shared.give_or_keep(events, given, kept).await
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        let shared = &self.shared;
        let (given, kept) = (
            shared.broker.publish_report(account),
            shared.spool.publish_report(account),
        );
        shared.give_or_keep(0, given, kept).await
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
        if !self.shared.gate.is_spooling() && self.shared.is_ready() {
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
