//! Subscribe, bound what runs at once, and drain: the worker as a whole.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Broker, Clock, Queue, Rng, Store, Subscription};
use hookbox_event::InstanceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::Work;
use crate::begun::Begun;
use crate::bookkeep::Bookkeeper;
use crate::collect::Collector;
use crate::counters::Counters;
use crate::intake::Intake;
use crate::isolation::Isolation;
use crate::pause::{After, Pause};
use crate::process::Process;
use crate::schedule::Scheduler;
use crate::standstill::Watch;
use crate::witness::{WitnessKeeper, WitnessLog, last_round};
use crate::{Config, Route, SourceSchemas};

/// Between two tries to have starts forgotten, of the few that there is time for.
const FAREWELL_PAUSE: Duration = Duration::from_millis(100);

/// A worker: takes events from the queues of its routes and has them handled.
pub struct Worker<S: Store> {
    inner: Arc<Inner<S>>,
}

/// One of the transactions that a route runs at once, until it is released or dropped.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<OwnedSemaphorePermit>>);

impl Slot {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Mutex::new(Some(permit)))
    }

    /// Lets another transaction of the route begin.
    pub fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

pub(crate) struct Inner<S: Store> {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<S>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub config: Config<S>,
    pub counters: Arc<Counters>,
    /// This process, in the counts of starts.
    pub id: InstanceId,
    /// Faults of the store that any part of this worker has met.
    pub store_faults: AtomicU64,
    /// Who may run beside whom.
    pub isolation: Isolation,
    /// Starts of handlers that this process has counted.
    pub begun: Begun,
    /// The highest sequence number of a witness that this process has read or published: what the
    /// broker gives must reach it, or is only a part of what it holds.
    pub witness_known: AtomicU64,
    /// Cancelled when a drain has taken long enough.
    pub cut: CancellationToken,
}

impl<S: Store> Worker<S> {
    /// A worker that has not begun.
    pub fn new(
        broker: Arc<dyn Broker>,
        store: Arc<S>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        config: Config<S>,
    ) -> Self {
        let id = InstanceId::new(clock.now(), rng.ten());
        let counters = Arc::new(Counters::new(config.routes.iter().map(|route| &route.name)));
        Self {
            inner: Arc::new(Inner {
                broker,
                store,
                clock,
                rng,
                config,
                counters,
                id,
                store_faults: AtomicU64::new(0),
                isolation: Isolation::default(),
                begun: Begun::default(),
                witness_known: AtomicU64::new(0),
                cut: CancellationToken::new(),
            }),
        }
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.inner.counters)
    }

    /// What it checks bodies by, to be replaced when schemas are reloaded.
    pub fn schemas(&self) -> SourceSchemas {
        self.inner.config.schemas.clone()
    }

    /// Cancelling it while the worker drains lets go of what still runs: transactions are rolled
    /// back, by their server where it does not answer, and their messages are put back. Nothing
    /// is spent; all of it comes again.
    pub fn cut(&self) -> CancellationToken {
        self.inner.cut.clone()
    }

    /// Has the store forget the starts that this worker counted and did not bring to an end: it
    /// was told to end, and has survived them. For after [`Worker::run`]; it tries until the store
    /// has done so, and the caller bounds how long. What stays counts as a death, of which one
    /// alone does nothing but make its event run alone.
    pub async fn farewell(&self) {
        let inner = &self.inner;
        for (route, begun) in inner.begun.all() {
            while inner.store.survived(&route, &begun).await.is_err() {
                tokio::time::sleep(FAREWELL_PAUSE).await;
            }
            inner.begun.forget(&route, &begun);
        }
    }

    /// Works until `shutdown`, then drains: it takes nothing more, brings what is running to its
    /// outcome, puts the rest back, and returns. The caller bounds how long that may take. It
    /// returns without `shutdown` only when a part of it panicked.
    ///
    /// Each transaction runs in a task of its own: cancelling this future stops nothing half-way.
    /// Only [`cut`](Self::cut) does, and what it drops in the middle ends with its connection (H8).
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let stop = shutdown.child_token();
        let beat = self.inner.clock.now();
        tracing::info!(
            routes = self.inner.config.routes.len(),
            started_at = %beat,
            "the worker takes events from {} routes",
            self.inner.config.routes.len()
        );
        for index in 0..self.inner.config.routes.len() {
            let inner = Arc::clone(&self.inner);
            tasks.spawn(inner.work_on_route(index, stop.clone()));
        }
        let scheduler = Scheduler {
            inner: Arc::clone(&self.inner),
        };
        tasks.spawn(scheduler.run(stop.clone()));
        let watch = Watch {
            inner: Arc::clone(&self.inner),
        };
        tasks.spawn(watch.run(stop.clone()));
        if self.inner.config.collect {
            let collector = Collector {
                inner: Arc::clone(&self.inner),
            };
            tasks.spawn(collector.run(stop.clone()));
            let bookkeeper = Bookkeeper {
                inner: Arc::clone(&self.inner),
            };
            tasks.spawn(bookkeeper.run(stop.clone()));
        }
        if self.inner.config.witness {
            let keeper = WitnessKeeper {
                inner: Arc::clone(&self.inner),
                log: WitnessLog::default(),
            };
            tasks.spawn(keeper.run(stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                // Half a worker would look alive. The rest drains, and whoever runs this sees
                // that it ended before it was told to.
                tracing::error!("a part of the worker panicked; the rest of it drains");
                stop.cancel();
            }
        }
        if self.inner.config.witness {
            last_round(&self.inner).await;
        }
        tracing::info!(
            settled = self.inner.counters.settled(),
            "the worker has drained"
        );
    }
}

impl<S: Store> Inner<S> {
    /// One route: a subscription, renewed whenever it breaks, until shutdown.
    async fn work_on_route(self: Arc<Self>, index: usize, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let route = &self.config.routes[index];
        let Some(counters) = self.counters.routes.get(&route.name) else {
            return;
        };
        let what = format!("taking from route {}", route.name);
        let mut pause = Pause::new(&what, &counters.unsubscribed, &self.rng, &shutdown);
        let slots = Arc::new(Semaphore::new(route.concurrency.get()));
        while !shutdown.is_cancelled() {
            let queue = Queue::Route(route.name.clone());
            let subscribed = tokio::select! {
                subscribed = self.broker.subscribe(&queue, route.prefetch) => subscribed,
                () = self.cut.cancelled() => break,
            };
            let fault = match subscribed {
                Ok(mut subscription) => {
                    pause.over();
                    let ended = Arc::clone(&self)
                        .take(index, &mut *subscription, &slots, &tasks, &shutdown)
                        .await;
                    if ended.is_ok() {
                        crash_point!("worker.draining");
                        // Running transactions settle their messages before the way back closes.
                        tasks.close();
                        tasks.wait().await;
                    }
                    subscription.close().await;
                    ended.err()
                }
                Err(fault) => Some(fault),
            };
            if let Some(fault) = fault
                && pause.after(&fault).await == After::ShutDown
            {
                break;
            }
        }
        tasks.close();
        tasks.wait().await;
        debug_assert_eq!(route.name, self.config.routes[index].name);
    }

    /// Takes messages while there is room, until shutdown (`Ok`) or until the subscription breaks.
    async fn take(
        self: Arc<Self>,
        index: usize,
        subscription: &mut dyn Subscription,
        slots: &Arc<Semaphore>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<(), hookbox_driver::Fault> {
        loop {
            let slot = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                slot = Arc::clone(slots).acquire_owned() => slot,
            };
            // The semaphore is never closed.
            let Ok(slot) = slot else { return Ok(()) };
            let first = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                first = subscription.next() => first?,
            };
            let mut intake = Intake::default();
            intake.add(first);
            while !intake.is_full() {
                match subscription.try_next() {
                    Some(delivery) => intake.add(delivery),
                    None => break,
                }
            }
            let inner = Arc::clone(&self);
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                let route = &inner.config.routes[index];
                let slot = Slot::new(slot);
                tokio::select! {
                    () = inner.process(route, &slot, &shutdown, intake) => {}
                    // What is dropped unsettled is put back.
                    () = inner.cut.cancelled() => {}
                }
            });
        }
    }

    async fn process(
        &self,
        route: &Route<S>,
        slot: &Slot,
        shutdown: &CancellationToken,
        intake: Intake,
    ) {
        let Some(counters) = self.counters.routes.get(&route.name) else {
            return;
        };
        let process = Process {
            store: &*self.store,
            config: &self.config,
            route: &route.name,
            counters,
            all_counters: &self.counters,
            slot,
            work: Work::Handle(route),
            isolation: &self.isolation,
            begun: &self.begun,
            id: &self.id,
            store_faults: &self.store_faults,
            rng: &self.rng,
            shutdown,
        };
        process.run(intake).await;
    }
}
