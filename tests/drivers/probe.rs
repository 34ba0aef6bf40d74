//! A handler that does what the event's body says, and a worker that runs the handler on a pair of
//! drivers.

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookbox_conformance::{BrokerHarness, StoreHarness};
use hookbox_driver::{Batch, Broker, Ledger, Rng, RouteBooks, Store};
use hookbox_event::{Digester, Envelope, RouteName, Timestamp};
use hookbox_testkit::fake_clock::FakeClock;
use hookbox_worker::{
    Config, ConflictRule, Counters, Event, Handler, HandlerError, OnConflict, RefusedHandler,
    Registered, RegisteredEffect, Retry, Route, RouteWork, SourceSchemas, Worker,
};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The time limit of one run of the handler. It is long, because the machine may be busy.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The payload of the events that the conformance tests build.
#[derive(Deserialize)]
pub struct Instructions {
    pub event: String,
}

/// A handler for tests. Each run writes one effect. The first word of the event's name then says
/// whether the run fails, hangs or breaks its transaction.
pub struct Probe<H> {
    /// Whether the handler still fails for events named `fails…`. Tests clear it before a replay.
    pub failing: Arc<AtomicBool>,
    pub world: PhantomData<fn() -> H>,
}

impl<H: StoreHarness + 'static> Handler<H::Store> for Probe<H> {
    const NAME: &'static str = "probe";
    type Payload = Instructions;

    async fn handle(
        &self,
        event: &Event<Instructions>,
        tx: &mut <H::Store as Store>::Connection,
    ) -> Result<(), HandlerError> {
        let name = event.payload.event.as_str();
        H::effect(tx, name).await;
        if !self.failing.load(Ordering::SeqCst) {
            return Ok(());
        }
        match name.split('-').next().unwrap() {
            "fails" => Err(HandlerError::transient("fails as planned")),
            "never" => Err(HandlerError::permanent("refuses as planned")),
            "panics" => panic!("panics as planned"),
            "hangs" => std::future::pending().await,
            "spoils" => {
                H::spoil(tx).await;
                Ok(())
            }
            "defers" => {
                H::break_at_commit(tx).await;
                Ok(())
            }
            "commits" => {
                H::commit_raw(tx).await;
                Ok(())
            }
            "rolls" => {
                H::roll_back_raw(tx).await;
                H::effect(tx, name).await;
                let fails = name.contains("fails");
                if fails {
                    Err(HandlerError::transient("fails as planned"))
                } else {
                    Ok(())
                }
            }
            "changes" => {
                H::change_session(tx).await;
                Ok(())
            }
            "leaves" => {
                assert!(
                    !H::finds_left_behind(tx).await,
                    "the session must not have a temporary table that another event created"
                );
                H::leave_behind(tx).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A broker and a store, with a worker that uses both.
pub struct Pair<B: BrokerHarness, S: StoreHarness> {
    pub brokers: B,
    pub stores: S,
    pub broker: Arc<B::Broker>,
    pub store: Arc<S::Store>,
    pub failing: Arc<AtomicBool>,
}

/// A running worker, which a test must stop.
pub struct Running {
    pub counters: Arc<Counters>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

pub fn route() -> RouteName {
    "one".parse().unwrap()
}

impl<B: BrokerHarness + 'static, S: StoreHarness + 'static> Pair<B, S> {
    pub async fn open(brokers: B, stores: S) -> Self {
        let (broker, store) = (brokers.open().await, stores.open().await);
        let failing = Arc::new(AtomicBool::new(true));
        Self {
            brokers,
            stores,
            broker,
            store,
            failing,
        }
    }

    pub async fn publish(&self, envelopes: &[Envelope]) {
        let batch = Batch::of(envelopes).unwrap();
        self.broker.publish(&[route()], &batch).await.unwrap();
    }

    /// Starts a worker that gives each event two attempts.
    pub fn work(&self) -> Running {
        self.work_within(TIME_LIMIT)
    }

    /// Starts a worker whose handlers have this time limit.
    pub fn work_within(&self, time_limit: Duration) -> Running {
        self.work_with(self.probe(), time_limit)
    }

    /// Starts a worker with this handler and this time limit.
    pub fn work_with(&self, handler: Registered<S::Store>, time_limit: Duration) -> Running {
        self.start(handler.into(), time_limit, Vec::new())
    }

    /// Starts a worker that makes the calls of this effect.
    pub fn work_outside(&self, effect: RegisteredEffect) -> Running {
        self.start(effect.into(), TIME_LIMIT, Vec::new())
    }

    /// Starts a worker that treats a receipt with a known event id and another body as a duplicate.
    pub fn work_by_id(&self) -> Running {
        let all = ConflictRule {
            topics: "#".parse().unwrap(),
            action: OnConflict::Duplicate,
        };
        self.start(self.probe().into(), TIME_LIMIT, vec![all])
    }

    fn probe(&self) -> Registered<S::Store> {
        let handler = Probe::<S> {
            failing: Arc::clone(&self.failing),
            world: PhantomData,
        };
        hookbox_worker::register(handler)
    }

    fn start(
        &self,
        work: RouteWork<S::Store>,
        time_limit: Duration,
        conflicts: Vec<ConflictRule>,
    ) -> Running {
        let worker = self.worker(work, time_limit, conflicts);
        let (shutdown, counters) = (CancellationToken::new(), worker.counters());
        let ending = shutdown.clone();
        let task = TaskTracker::new().spawn(async move { worker.run(ending).await });
        Running {
            counters,
            shutdown,
            task,
        }
    }

    /// Checks, as a worker with this handler does when it starts, that the store accepts what the
    /// handler will run.
    pub async fn check(&self, handler: Registered<S::Store>) -> Result<(), RefusedHandler> {
        let worker = self.worker(handler.into(), TIME_LIMIT, Vec::new());
        worker.check_handlers().await
    }

    fn worker(
        &self,
        work: RouteWork<S::Store>,
        time_limit: Duration,
        conflicts: Vec<ConflictRule>,
    ) -> Worker<S::Store> {
        let moment = Duration::from_millis(20);
        let config = Config {
            routes: vec![Route {
                name: route(),
                shared_topics: Vec::new(),
                newest: None,
                work,
                retry: Retry::new(2, moment, 1.0, moment, 0.0).unwrap(),
                time_limit,
                concurrency: NonZeroUsize::new(2).unwrap(),
                prefetch: 16,
            }],
            all_routes: vec![route()],
            schemas: SourceSchemas::default(),
            conflicts,
            schedule_interval: moment,
            collect: true,
            witness: true,
            digester: Digester::Plain,
        };
        let broker = Arc::clone(&self.broker);
        let store = Arc::clone(&self.store);
        let clock = FakeClock::still(Timestamp::from_unix_micros(1_764_000_000_000_000));
        let clock = Arc::new(clock);
        Worker::new(broker, store, clock, Arc::new(Dice), config)
    }

    pub async fn books(&self) -> RouteBooks {
        let none = RouteBooks {
            route: route(),
            done: 0,
            duplicate: 0,
            conflict: 0,
            retrying: 0,
            dead: 0,
            stale: 0,
        };
        // If the store is unavailable, this returns zeros. The callers repeat the query until the
        // counts are those that they want.
        let books = self.store.books().await.unwrap_or_default();
        books.into_iter().next().unwrap_or(none)
    }

    /// Closes broker and store, and checks that no imbalance, transaction, queue or file is left.
    pub async fn finish(self) {
        assert_eq!(self.store.imbalances(10).await.unwrap(), []);
        self.broker.close().await;
        Store::close(&*self.store).await;
        drop((self.broker, self.store));
        self.brokers.finish().await;
        self.stores.finish().await;
    }
}

/// A generator that gives fixed bytes in place of random ones, so that a test is repeatable. Every
/// byte is 0x80, the middle of the range.
struct Dice;

impl Rng for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x80);
    }
}
