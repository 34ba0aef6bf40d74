//! One store and one broker in memory, and the processes that use them one after the other.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{Batch, Queue, Rng, RouteChange, RouteScope, TargetLimits, TargetName};
use hookbox_event::{
    ContentDigest, Digester, Envelope, EventId, InstanceId, Newest, ReceiptId, RouteName,
    Timestamp, TopicPattern,
};
use hookbox_testkit::eventually;
use hookbox_testkit::fake_clock::FakeClock;
use hookbox_worker::{
    Config, ConflictRule, Counters, OnConflict, Registered, Retry, Route, RouteCounters, RouteWork,
    SourceSchemas, Worker, register, register_effect,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::call_script::{CallScript, Calling};
use crate::journal::Journal;
use crate::memory_broker::{MemoryBroker, Queues};
use crate::memory_process::MemoryProcess;
use crate::memory_store::{MemoryStore, On, Tables};
use crate::script::{AtOnce, Script, Scripted};

/// The longest wait for a condition. It is measured on tokio's paused clock, so it takes no real
/// time.
const PATIENCE: Duration = Duration::from_secs(6 * 60 * 60);

/// How long one run of the handler may take.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

pub struct World {
    pub tables: Arc<Tables>,
    pub queues: Arc<Queues>,
    pub script: Arc<Script>,
    pub calls: Arc<CallScript>,
    pub journal: Arc<Journal>,
    /// How many transactions each route runs at once.
    pub concurrency: usize,
    pub is_trusted: bool,
    /// Whether the handler handles several events at once.
    pub is_at_once: bool,
    pub on_conflict: OnConflict,
    pub shared_topics: Vec<TopicPattern>,
    pub newest: Option<Newest>,
    pub schemas: SourceSchemas,
    /// The limits of the target. If they are set, the route has an effect, and otherwise a handler.
    pub limits: Option<TargetLimits>,
    /// Whether there is another route, with a handler.
    pub has_neighbour: bool,
    /// Whether there is another route, with an effect that has the same target and the same limits.
    pub has_calling_neighbour: bool,
    processes: AtomicU64,
    began: Instant,
}

/// A worker that is running.
pub struct Running {
    pub process: Arc<MemoryProcess>,
    pub worker: Arc<Worker<MemoryStore>>,
    pub counters: Arc<Counters>,
    pub shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl World {
    pub fn new() -> Self {
        let journal = Arc::new(Journal::default());
        Self {
            tables: Arc::new(Tables::new(&journal)),
            queues: Arc::new(Queues::new(&journal)),
            script: Arc::default(),
            calls: Arc::default(),
            journal,
            concurrency: 4,
            is_trusted: false,
            is_at_once: false,
            on_conflict: OnConflict::DeadLetter,
            shared_topics: Vec::new(),
            newest: None,
            schemas: SourceSchemas::default(),
            limits: None,
            has_neighbour: false,
            has_calling_neighbour: false,
            processes: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Starts another process with a worker on the same store and broker.
    pub fn start(&self) -> Running {
        let number = self.processes.fetch_add(1, Ordering::Relaxed) + 1;
        let process = Arc::new(MemoryProcess {
            number,
            dead: CancellationToken::new(),
            tables: Arc::clone(&self.tables),
            queues: Arc::clone(&self.queues),
            script: Arc::clone(&self.script),
            calls: Arc::clone(&self.calls),
        });
        let worker = Arc::new(Worker::new(
            Arc::new(MemoryBroker(Arc::clone(&process))),
            Arc::new(MemoryStore(Arc::clone(&process))),
            Arc::new(FakeClock::running(
                Timestamp::from_unix_micros(0),
                self.began,
            )),
            Arc::new(Counted(AtomicU64::new(number << 32))),
            self.config(&process),
        ));
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (running, until) = (Arc::clone(&worker), shutdown.clone());
        tasks.spawn(async move { running.run(until).await });
        Running {
            counters: worker.counters(),
            process,
            worker,
            shutdown,
            tasks,
        }
    }

    /// Starts a process, and waits until it has read what operators have set for routes. Before
    /// that it takes no message.
    pub async fn started(&self) -> Running {
        let before = self.tables.calls("route_controls");
        let running = self.start();
        let has_read = || self.tables.calls("route_controls") > before;
        within(
            "the worker must read what operators have set for routes",
            has_read,
        )
        .await;
        running
    }

    /// Changes the controls of a route as an operator does.
    pub fn operate(&self, scope: &RouteScope, change: &RouteChange) {
        let now = Timestamp::from_unix_micros(0).saturating_add(self.began.elapsed());
        let mut state = self.tables.state();
        if let Some(changed) = state.controls.with(scope, change, "ann", now) {
            state.controls = changed;
        }
    }

    fn config(&self, process: &Arc<MemoryProcess>) -> Config<MemoryStore> {
        let second = Duration::from_secs(1);
        let mut routes = vec![Route {
            name: route(),
            shared_topics: self.shared_topics.clone(),
            newest: self.newest.clone(),
            work: self.work(process),
            retry: Retry::new(3, second, 2.0, 60 * second, 0.0).unwrap(),
            time_limit: TIME_LIMIT,
            concurrency: NonZeroUsize::new(self.concurrency).unwrap(),
            prefetch: 16,
        }];
        if self.has_neighbour {
            let handler: Registered<MemoryStore> = register(Scripted::<false>(Arc::clone(process)));
            routes.push(Route::new(neighbour(), handler));
        }
        if self.has_calling_neighbour {
            routes.push(Route::new(neighbour(), self.work(process)));
        }
        Config {
            all_routes: routes.iter().map(|route| route.name.clone()).collect(),
            routes,
            schemas: self.schemas.clone(),
            conflicts: vec![ConflictRule {
                topics: "#".parse().unwrap(),
                action: self.on_conflict,
            }],
            digester: Digester::Plain,
            schedule_interval: second / 2,
            collect: true,
            witness: false,
        }
    }

    fn work(&self, process: &Arc<MemoryProcess>) -> RouteWork<MemoryStore> {
        let of = Arc::clone(process);
        if let Some(limits) = self.limits {
            return RouteWork::Effect(register_effect(Calling {
                process: of,
                target: target(),
                limits,
            }));
        }
        let handler: Registered<MemoryStore> = match (self.is_at_once, self.is_trusted) {
            (false, false) => register(Scripted::<false>(of)),
            (false, true) => register(Scripted::<true>(of)),
            (true, false) => register(AtOnce(Scripted::<false>(of))),
            (true, true) => register(AtOnce(Scripted::<true>(of))),
        };
        RouteWork::Handler(handler)
    }

    /// Publishes one message with these envelopes to the route.
    pub fn put(&self, envelopes: &[Envelope]) {
        let bytes = Batch::of(envelopes).unwrap().bytes;
        self.queues.put(Queue::Route(route()), bytes, false);
    }

    /// Publishes one message for each event.
    pub fn put_each(&self, numbers: impl IntoIterator<Item = u8>) {
        for number in numbers {
            self.put(&[envelope(number)]);
        }
    }

    /// Starts a process, and another one whenever the last one has died, until the condition
    /// holds. Returns the process that is running then.
    pub async fn restart_until(&self, what: &str, holds: impl Fn() -> bool) -> Running {
        loop {
            let running = self.start();
            within(what, || running.process.is_dead() || holds()).await;
            if !running.process.is_dead() {
                return running;
            }
        }
    }

    pub fn is_done(&self, number: u8) -> bool {
        self.outcome(&envelope(number)) == Some("done")
    }

    pub fn are_done(&self, numbers: impl IntoIterator<Item = u8>) -> bool {
        numbers.into_iter().all(|number| self.is_done(number))
    }

    /// Returns the outcome of a receipt, by its name in the store.
    pub fn outcome(&self, envelope: &Envelope) -> Option<&'static str> {
        let state = self.tables.state();
        let key = (route(), envelope.receipt);
        state.rows.receipts.get(&key).copied()
    }

    /// Returns the reason and the detail of a dead letter.
    pub fn dead(&self, event: EventId) -> Option<(hookbox_driver::DeadReason, String)> {
        self.tables.state().rows.dead.get(&on(event)).cloned()
    }

    /// Returns how often the effects of an event were committed.
    pub fn effects(&self, number: u8) -> usize {
        let state = self.tables.state();
        let effects = state.rows.effects.iter();
        effects.filter(|event| **event == id(number)).count()
    }

    /// Returns whether every message is acknowledged.
    pub fn is_settled(&self) -> bool {
        let waiting = self.queues.waiting(&Queue::Route(route()));
        waiting.is_empty() && self.queues.unsettled() == 0
    }
}

impl Running {
    pub fn route(&self) -> &RouteCounters {
        &self.counters.routes[&route()]
    }

    /// Shuts the worker down in order, within a minute.
    pub async fn drain(mut self) {
        self.shutdown.cancel();
        let ended = timeout(Duration::from_secs(60), self.tasks.join_next()).await;
        ended
            .expect("the worker must drain within a minute")
            .unwrap()
            .unwrap();
    }
}

/// Waits until a condition holds, on the paused clock.
pub async fn within(what: &str, holds: impl Fn() -> bool) {
    eventually::within(PATIENCE, what, async || holds()).await;
}

/// Returns limits with this number of calls at once, and without a rate.
pub fn at_once(concurrency: u32) -> Option<TargetLimits> {
    Some(TargetLimits {
        concurrency: NonZeroU32::new(concurrency).unwrap(),
        rate: None,
    })
}

pub fn target() -> TargetName {
    "https://crm.example.com".parse().unwrap()
}

/// Returns the name of the other route.
pub fn neighbour() -> RouteName {
    "audit".parse().unwrap()
}

pub fn route() -> RouteName {
    "scores".parse().unwrap()
}

pub fn on(event: EventId) -> On {
    (route(), event)
}

pub fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

/// Returns the first receipt of an event.
pub fn envelope(number: u8) -> Envelope {
    receipt(number, 1)
}

/// Returns one of several receipts of an event.
pub fn receipt(number: u8, which: u8) -> Envelope {
    let mut receipt = [number; 16];
    receipt[0] = which;
    let body = Bytes::from_static(b"{}");
    Envelope {
        receipt: ReceiptId::from_bytes(receipt),
        source: "begini".parse().unwrap(),
        topic: "begini.score".parse().unwrap(),
        event: id(number),
        id_tail: None,
        digest: ContentDigest::of_raw_body(&Digester::Plain, &body),
        received_at: Timestamp::from_unix_micros(0),
        key_id: "one".to_owned(),
        instance: InstanceId::from_bytes([1; 16]),
        number: 1,
        seal: None,
        traceparent: None,
        redo: None,
        body,
    }
}

/// A random generator whose bytes differ for every process and call; [`Rng::unit`] is always a
/// half.
struct Counted(AtomicU64);

impl Rng for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = next[place % next.len()];
        }
    }

    fn unit(&self) -> f64 {
        0.5
    }
}
