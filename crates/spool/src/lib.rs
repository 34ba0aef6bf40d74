//! Store and forward: while the main broker takes no publishes, events go to a spool, a second
//! broker in a SQLite file on this machine. When the main broker is back, they are forwarded to it
//! in order of arrival.
//!
//! The spool and the main broker together form one broker, so the rest of ingest does not know
//! about the spool, and a publish keeps its promise: `Ok` means on disk. Once an event is spooled,
//! every later event is spooled too, until all are forwarded. So no event overtakes another, except
//! a message that is refused by the broker's own limits. A publish that timed out may be both at
//! the broker and in the spool; both copies are one receipt, so the store gives it one outcome.
//!
//! The spool empties under any load: while it is being forwarded, two messages leave for each that
//! arrives, and new events wait while the last few are forwarded.
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

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_crash::crash_point;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, PublishError, PublishErrorKind, Queue, Readiness, Subscription,
    describe,
};
use hookbox_event::{Account, RouteName, Witness};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use counters::SpoolCounters;
pub use late::{LateBroker, Reason};

use counters::add;
use forwarding_queue::ForwardingQueue;
use gate::{Destination, Gate, Place};

/// The most messages of one queue in flight. If each holds one event, that is enough to fill one
/// message for the broker. With the largest usual bodies (1 MiB) it is 64 MiB.
const PREFETCH: u16 = 64;

/// How often to check whether the broker is available again, and whether the spool is empty.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long a publish waits for spooled messages to be forwarded before it is spooled too. A broker
/// that needs longer counts as unavailable.
const MAKE_ROOM_MAX: Duration = Duration::from_millis(250);

/// A broker that spools to this machine's disk what the main broker cannot take now.
pub struct Spooling {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

struct Shared {
    broker: Arc<dyn Broker>,
    spool: Arc<dyn Broker>,
    counters: Arc<SpoolCounters>,
    gate: Gate,
    queues: HashMap<RouteName, ForwardingQueue>,
    stop: CancellationToken,
}

/// What the spool holds for the main broker. Messages that the main broker refuses are not counted.
#[derive(Clone, Copy, Default)]
struct SpoolContents {
    messages: u64,
    /// The number of messages that are not accept reports.
    of_routes: u64,
    events: u64,
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
            // A spool must never give up a message, and accept reports are forwarded by a task of
            // their own.
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

impl Shared {
    fn is_ready(&self) -> bool {
        self.broker.readiness() == Readiness::Ready
    }

    async fn until_ready(&self) {
        while !self.is_ready() {
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Waits until no message of the queue is in flight. Messages that a dead process had in flight
    /// are redelivered when their lease expires, and they are older than all others.
    async fn until_whole(&self, queue: &Queue) {
        loop {
            let depths = self.spool.depths().await.unwrap_or_default();
            let own = depths.iter().find(|depth| depth.queue == *queue);
            if own.is_some_and(|depth| depth.unsettled == Some(0)) {
                return;
            }
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Publishes to the main broker with the future `given` if the broker takes publishes, and
    /// otherwise spools with the future `kept`. `events` is the number of events that the counters
    /// add for it.
    async fn give_or_keep(
        &self,
        events: u64,
        given: impl Future<Output = Result<(), PublishError>> + Send,
        kept: impl Future<Output = Result<(), PublishError>> + Send,
    ) -> Result<(), PublishError> {
        let place = match self.gate.enter(|| self.is_ready()).await {
            Destination::Keep(place) => place,
            Destination::Give(place) => {
                let late = PublishError::plain(PublishErrorKind::TimedOut);
                let given = tokio::select! {
                    given = given => given,
                    () = place.is_late() => Err(late),
                };
                match given {
                    Ok(()) => return Ok(()),
                    Err(error) => tracing::info!(
                        kind = error.kind.as_str(),
                        error = describe(&error),
                        "the broker did not take {events} events; they are kept in the spool"
                    ),
                }
                place.keep()
            }
        };
        self.keep(&place, events, kept).await
    }

    async fn keep(
        &self,
        place: &Place<'_>,
        events: u64,
        kept: impl Future<Output = Result<(), PublishError>> + Send,
    ) -> Result<(), PublishError> {
        place.is_oldest().await;
        crash_point!("spool.before_keep");
        kept.await?;
        crash_point!("spool.after_keep");
        add(&self.counters.kept, events);
        add(&self.counters.events, events);
        Ok(())
    }

    /// Waits until enough messages of these routes have been forwarded to let a new one in.
    async fn make_room(&self, routes: &[RouteName]) {
        if !self.gate.is_spooling() || !self.is_ready() {
            return;
        }
        let all = async {
            for queue in routes.iter().filter_map(|route| self.queues.get(route)) {
                queue.make_room().await;
            }
        };
        let _ = timeout(MAKE_ROOM_MAX, all).await;
    }

    /// Counts what is in the spool.
    async fn contents(&self) -> Result<SpoolContents, Fault> {
        let depths = self.spool.depths().await?;
        let mut left = SpoolContents::default();
        let (mut events, mut refused) = (0, 0);
        for depth in &depths {
            match &depth.queue {
                Queue::Route(route) => {
                    let of_queue = self.queues.get(route).map(ForwardingQueue::refused);
                    let of_queue = of_queue.unwrap_or_default();
                    let messages = waiting(depth).saturating_sub(of_queue.0);
                    let here = depth.events.unwrap_or(0);
                    left.of_routes += messages;
                    left.messages += messages;
                    left.events += here.saturating_sub(of_queue.1);
                    events += here;
                    refused += of_queue.1;
                }
                Queue::Accounts => left.messages += waiting(depth),
                Queue::Dead | Queue::Witness => {}
            }
        }
        self.counters.events.store(events, Ordering::Relaxed);
        self.counters.refused.store(refused, Ordering::Relaxed);
        Ok(left)
    }
}

/// Returns the number of messages in one queue, in flight or not.
fn waiting(depth: &Depth) -> u64 {
    depth.ready.unwrap_or(0) + depth.unsettled.unwrap_or(0)
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
