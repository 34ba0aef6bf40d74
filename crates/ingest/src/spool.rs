//! Store and forward: while the broker takes nothing, a second broker on this machine's own disk
//! does (a SQLite file), and what it took is forwarded in order of arrival when the first is back.
//!
//! It is a broker over two brokers, so nothing else of ingest knows of it, and the promise of a
//! publish is the same: `Ok` means on disk. Once something is kept, everything is, until all of
//! it is forwarded: nothing overtakes, but what the broker refuses by itself. What timed out may
//! be at the broker and in the spool; it is one receipt, so the store gives it one outcome.
//!
//! It empties under any load: while the broker takes them, two messages leave for each that comes
//! in, and what comes waits for the last few.
//!
//! Accounts go the same way, and are forwarded after everything that they tell of.

mod accounts;
mod close;
mod counters;
mod forward;
mod gate;
mod kept;
mod late;
mod pause;
mod way;

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

use crate::counters::add;
use gate::{Gate, Place, Turn};
use way::Way;

/// Messages of a queue in hand: as many as make one for the broker when each is one event. The
/// largest bodies that are usual (1 MiB) make 64 MiB of them.
const PREFETCH: u16 = 64;

/// How often it is looked whether the broker is back, and whether the spool is empty.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long something waits for others to leave before it is kept. A broker so slow that this is
/// not enough is as good as away.
const MAKE_ROOM_MAX: Duration = Duration::from_millis(250);

/// A broker that keeps on this machine's disk what the other cannot take now.
pub struct Spooling {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

struct Shared {
    broker: Arc<dyn Broker>,
    spool: Arc<dyn Broker>,
    counters: Arc<SpoolCounters>,
    gate: Gate,
    ways: HashMap<RouteName, Way>,
    stop: CancellationToken,
}

/// What is in the spool and waits for the broker: all but what the broker refuses by itself.
#[derive(Clone, Copy, Default)]
struct Left {
    messages: u64,
    /// Those of the messages that are no accounts.
    of_routes: u64,
    events: u64,
}

impl Spooling {
    /// Forwards what an earlier process has left in the spool, and keeps what comes until then.
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
                "an earlier hookbox gave up {dead} messages of the spool; nobody forwards them"
            );
        }
        let routes = depths.into_iter().filter_map(|depth| match depth.queue {
            Queue::Route(route) => Some(route),
            // A spool must give up no message, and accounts have no way of their own.
            Queue::Dead | Queue::Accounts | Queue::Witness => None,
        });
        let routes: Vec<RouteName> = routes.collect();
        let way = |route: &RouteName| (route.clone(), Way::default());
        let shared = Arc::new(Shared {
            broker,
            spool,
            counters: Arc::default(),
            gate: Gate::new(!is_empty),
            ways: routes.iter().map(way).collect(),
            stop: CancellationToken::new(),
        });
        if !is_empty {
            tracing::warn!(
                events = shared.look().await?.events,
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

    /// What it has done so far.
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
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until nobody has a message of the queue in hand: what a process that died had comes
    /// again when its lease is over, and is older than everything else.
    async fn until_whole(&self, queue: &Queue) {
        loop {
            let depths = self.spool.depths().await.unwrap_or_default();
            let own = depths.iter().find(|depth| depth.queue == *queue);
            if own.is_some_and(|depth| depth.unsettled == Some(0)) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Gives something to the broker while it takes what comes, or else keeps it. `events` is how
    /// much it is worth in the counters.
    async fn give_or_keep(
        &self,
        events: u64,
        given: impl Future<Output = Result<(), PublishError>> + Send,
        kept: impl Future<Output = Result<(), PublishError>> + Send,
    ) -> Result<(), PublishError> {
        let place = match self.gate.enter(|| self.is_ready()).await {
            Turn::Keep(place) => place,
            Turn::Give(place) => {
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

    /// Waits until enough has left the ways of these routes.
    async fn make_room(&self, routes: &[RouteName]) {
        if !self.gate.is_spooling() || !self.is_ready() {
            return;
        }
        let all = async {
            for way in routes.iter().filter_map(|route| self.ways.get(route)) {
                way.make_room().await;
            }
        };
        let _ = timeout(MAKE_ROOM_MAX, all).await;
    }

    /// How much is in the spool.
    async fn look(&self) -> Result<Left, Fault> {
        let depths = self.spool.depths().await?;
        let mut left = Left::default();
        let (mut events, mut refused) = (0, 0);
        for depth in &depths {
            match &depth.queue {
                Queue::Route(route) => {
                    let of_way = self.ways.get(route).map(Way::refused).unwrap_or_default();
                    let messages = waiting(depth).saturating_sub(of_way.0);
                    let here = depth.events.unwrap_or(0);
                    left.of_routes += messages;
                    left.messages += messages;
                    left.events += here.saturating_sub(of_way.1);
                    events += here;
                    refused += of_way.1;
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

/// Messages of one queue, in hand or not.
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

    async fn tell(&self, account: &Account) -> Result<(), PublishError> {
        let shared = &self.shared;
        let (given, kept) = (shared.broker.tell(account), shared.spool.tell(account));
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
                format!("the broker takes nothing now, and nor does the spool: {why}"),
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
