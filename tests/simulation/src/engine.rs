//! The processes of a run: real ingests and workers that are started, killed, drained and
//! restarted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hookbox_driver::{Broker, Clock, Rng};
use hookbox_event::{Digester, Pointer, RouteName, Routing, Selection, TopicPattern};
use hookbox_ingest::{EventType, Identity, Ingest, Limits, Peers, Source};
use hookbox_signature::{Key, Preset, RefusalAnswer};
use hookbox_worker::{
    Config, ConflictRule, OnConflict, Retry, Route, RouteWork, Worker, register, register_effect,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::SimBroker;
use crate::chance::Chance;
use crate::effect::Notify;
use crate::fault::Fault;
use crate::handler::{Apply, ApplyAll, TIME_LIMIT};
use crate::newest;
use crate::process::Process;
use crate::scenario::{ROUTES, Scenario, conditions, route, source};
use crate::store::SimStore;
use crate::world::World;

/// The time within which a drain must end. A handler may use its whole time limit. After that its
/// outcome must be written, even while faults strike.
const DRAIN: Duration = Duration::from_secs(60);

/// A draining worker abandons handlers after this time if they get all events of a batch at once.
/// One run of such a handler may take longer than the whole drain. A real drain abandons all its
/// handlers after the same share of its time.
const BATCH_GRACE: Duration = Duration::from_secs(36);

/// The time that an ending worker has to delete its start markers, which count handler starts. A
/// real drain has 20 s in total, and leaves about this much of it.
const CLEAR_STARTS: Duration = Duration::from_secs(2);

/// A process that runs, and the handles to stop it and to send it requests.
#[derive(Clone)]
pub(crate) struct Running {
    pub process: Arc<Process>,
    /// Cancelled when the process must drain.
    pub stop: CancellationToken,
    /// The ingest to send requests to; `None` for a worker.
    pub ingest: Option<Arc<Ingest>>,
}

/// All processes of a run.
pub(crate) struct Fleet {
    pub world: Arc<World>,
    pub scenario: Arc<Scenario>,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    slots: Mutex<Vec<Option<Running>>>,
    numbers: AtomicU64,
}

impl Fleet {
    pub fn start(world: &Arc<World>, scenario: &Arc<Scenario>) -> Arc<Self> {
        let size = scenario.ingests + scenario.workers;
        let fleet = Arc::new(Self {
            world: Arc::clone(world),
            scenario: Arc::clone(scenario),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            slots: Mutex::new((0..size).map(|_| None).collect()),
            numbers: AtomicU64::new(0),
        });
        for slot in 0..usize::try_from(size).unwrap_or(0) {
            fleet.tasks.spawn(Arc::clone(&fleet).keep(slot));
        }
        fleet
    }

    /// Returns the processes that are alive and were not asked to stop.
    pub fn running(&self) -> Vec<Running> {
        self.slots().iter().flatten().cloned().collect()
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Vec<Option<Running>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one slot occupied by a process: when a process has ended, the next one is started.
    async fn keep(self: Arc<Self>, slot: usize) {
        let is_ingest = (slot as u64) < self.scenario.ingests;
        while !self.stop.is_cancelled() {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
            let role = if is_ingest { "ingest" } else { "worker" };
            let process = Process::new(&self.world, role, number);
            if is_ingest {
                self.ingest(slot, &process).await;
            } else {
                self.worker(slot, &process).await;
            }
            if !self.stop.is_cancelled() {
                let wait = self.world.chance.millis(50, 1_500);
                tokio::time::sleep(wait).await;
            }
        }
    }

    async fn ingest(&self, slot: usize, process: &Arc<Process>) {
        let broker = Arc::new(SimBroker {
            process: Arc::clone(process),
        });
        let config = self.ingest_config();
        let ingest = Ingest::start(config, broker, None, self.clock(process), self.rng());
        let running = self.enter(slot, process, Some(Arc::clone(&ingest)));
        tokio::select! {
            biased;
            () = process.died.cancelled() => {}
            () = running.stop.cancelled() => {}
        }
        self.slots()[slot] = None;
        let drained = async {
            ingest.finish().await;
            true
        };
        self.end(process, drained).await;
    }

    async fn worker(&self, slot: usize, process: &Arc<Process>) {
        let broker: Arc<dyn Broker> = Arc::new(SimBroker {
            process: Arc::clone(process),
        });
        let store = Arc::new(SimStore {
            process: Arc::clone(process),
        });
        let config = self.worker_config(process);
        let worker = Worker::new(broker, store, self.clock(process), self.rng(), config);
        let worker = Arc::new(worker);
        let running = self.enter(slot, process, None);
        let (stop, works) = (running.stop.clone(), Arc::clone(&worker));
        let mut task = self.tasks.spawn(async move { works.run(stop).await });
        tokio::select! {
            biased;
            () = process.died.cancelled() => {}
            () = running.stop.cancelled() => {}
            _ = &mut task => {
                let text = format!("{} ended without being killed or stopped", process.name);
                self.world.state().violate("I15", &text);
            }
        }
        self.slots()[slot] = None;
        if !task.is_finished() {
            let drained = async {
                let ended = tokio::select! {
                    biased;
                    ended = &mut task => ended,
                    () = self.grace(process) => {
                        worker.cut().cancel();
                        task.await
                    }
                };
                let clear = worker.clear_start_markers();
                let cleared = tokio::time::timeout(CLEAR_STARTS, clear).await;
                if cleared.is_err() {
                    process.count_as_death();
                }
                ended.is_ok()
            };
            self.end(process, drained).await;
        }
    }

    /// Returns when a draining worker must abandon its running handlers. If the fault `Cut`
    /// strikes, that is after a short random time, which may not be enough for the handlers.
    /// Otherwise, if handlers get all events of a batch at once, it is after [`BATCH_GRACE`].
    /// Otherwise this never returns, because every handler ends within the drain. A drain that
    /// takes too long is a violation.
    async fn grace(&self, process: &Process) {
        let world = &self.world;
        if world.strikes(Fault::Cut, &process.name) {
            tokio::time::sleep(world.chance.millis(0, 3_000)).await;
        } else if self.scenario.at_once {
            tokio::time::sleep(BATCH_GRACE).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    fn enter(&self, slot: usize, process: &Arc<Process>, ingest: Option<Arc<Ingest>>) -> Running {
        let running = Running {
            process: Arc::clone(process),
            stop: self.stop.child_token(),
            ingest,
        };
        self.slots()[slot] = Some(running.clone());
        running
    }

    /// Waits until a process has ended. A killed process has ended already, and any other process
    /// ends when it has drained.
    async fn end(&self, process: &Arc<Process>, drained: impl Future<Output = bool>) {
        let well = tokio::select! {
            biased;
            () = process.died.cancelled() => return,
            drained = tokio::time::timeout(DRAIN, drained) => drained.unwrap_or(false),
        };
        if !well {
            let text = format!("{} did not drain within {DRAIN:?}", process.name);
            self.world.state().violate("I15", &text);
        }
        self.world.note(&format!("{} has drained", process.name));
        process.die();
    }

    fn clock(&self, process: &Process) -> Arc<dyn Clock> {
        let wrong = self.world.strikes(Fault::ClockWrong, &process.name);
        let day = 24 * 3_600_000;
        let offset = if wrong {
            self.world.chance.between(0, 2 * day) as i64 - day as i64
        } else {
            0
        };
        Arc::new(self.world.clock(offset * 1_000))
    }

    fn rng(&self) -> Arc<dyn Rng> {
        Arc::new(Chance::new(self.world.chance.next()))
    }

    fn ingest_config(&self) -> hookbox_ingest::Config {
        let patterns = |text: &str| -> Vec<TopicPattern> { text.parse().into_iter().collect() };
        let (unrouted, named) = ROUTES.split_last().expect("ROUTES must not be empty");
        let pointer = |text: &str| -> Option<Pointer> { text.parse().ok() };
        let identity = ["/integration_id", "/uid", "/event/type"];
        hookbox_ingest::Config {
            sources: vec![Source {
                name: source(),
                scheme: Preset::Begini.scheme(),
                keys: RwLock::new(key("right").into_iter().collect()),
                form: None,
                answer: RefusalAnswer::default(),
                topic: pointer("/event/type").map(EventType::Body),
                identity: Identity::Pointers(identity.into_iter().filter_map(pointer).collect()),
            }],
            routing: Routing {
                selections: named
                    .iter()
                    .map(|(name, pattern)| Selection {
                        route: route(name),
                        topics: patterns(pattern),
                        conditions: conditions(name),
                    })
                    .collect(),
                unrouted: route(unrouted.0),
            },
            digester: Digester::Plain,
            peers: Peers::default(),
            limits: Limits {
                publish_slots: self.scenario.slots,
                batch_max: self.scenario.batch_max,
                ..Limits::standard()
            },
        }
    }

    fn worker_config(&self, process: &Arc<Process>) -> Config<SimStore> {
        let scenario = &self.scenario;
        let second = Duration::from_secs(1);
        let retry = Retry::new(scenario.attempts, second / 5, 2.0, 3 * second, 0.5)
            .expect("the scenario must have a valid retry policy");
        let others = |name: &str| {
            let others = ROUTES
                .iter()
                .filter(move |it| it.0 != name && !it.1.is_empty());
            let patterns = others.map(|it| it.1.parse().expect("a valid topic pattern"));
            patterns.collect()
        };
        let routes = ROUTES.iter().map(|(name, _)| Route {
            name: route(name),
            shared_topics: others(name),
            newest: scenario.applies_newest(&route(name)).then(newest::rule),
            work: work(scenario, process, route(name)),
            retry,
            time_limit: TIME_LIMIT,
            concurrency: scenario.concurrency,
            prefetch: scenario.prefetch,
        });
        Config {
            routes: routes.collect(),
            all_routes: ROUTES.iter().map(|it| route(it.0)).collect(),
            schemas: Default::default(),
            conflicts: vec![ConflictRule {
                topics: "#".parse().expect("a valid topic pattern"),
                action: scenario.on_conflict,
            }],
            digester: Digester::Plain,
            schedule_interval: scenario.schedule_interval,
            collect: true,
            witness: true,
        }
    }
}

/// Returns the effect of a route if the route has one in the scenario. Otherwise returns the
/// handler, which gets whole batches or single events.
fn work(scenario: &Scenario, process: &Arc<Process>, route: RouteName) -> RouteWork<SimStore> {
    let process = Arc::clone(process);
    if let Some(limits) = scenario.calls_of(&route) {
        return RouteWork::Effect(register_effect(Notify {
            newest: scenario.applies_newest(&route),
            process,
            route,
            target: "https://crm.example.com".parse().expect("a valid target"),
            limits,
        }));
    }
    let apply = Apply {
        process,
        route,
        id_decides: scenario.on_conflict == OnConflict::Duplicate,
    };
    RouteWork::Handler(if scenario.at_once {
        register(ApplyAll(apply))
    } else {
        register(apply)
    })
}

/// Returns a signing key: that of the source for `right`, and that of a forger for any other text.
pub(crate) fn key(which: &str) -> Option<Key> {
    Key::new("2026-11", None, which.as_bytes().to_vec()).ok()
}
