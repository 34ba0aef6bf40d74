//! One running ingest: its config, its broker, and the state that its requests share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hookbox_crash::crash_point;
use hookbox_driver::{Broker, Clock, Ledger, Rng};
use hookbox_event::{Digester, InstanceId, SourceConditions};
use hookbox_signature::{Key, Preset, Scheme, last_end};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounting::Accounting;
use crate::batcher::Batcher;
use crate::body_memory::BodyMemory;
use crate::failure_log::FailureLog;
use crate::refusal_log::RefusalLog;
use crate::refusals::Refusals;
use crate::{Config, Counters, Limits, Peers, Source};

/// A running ingest, for [`crate::router()`] and [`crate::serve`].
pub struct Ingest {
    pub(crate) sources: HashMap<String, Source>,
    /// The conditions of the routes on events of each source, by the name of the source. A source
    /// is not in the map if no route has a condition on its events.
    conditions: HashMap<String, SourceConditions>,
    no_conditions: SourceConditions,
    pub(crate) digester: Digester,
    pub(crate) peers: Peers,
    pub(crate) limits: Limits,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) batcher: Batcher,
    pub(crate) refusals: Refusals,
    pub(crate) refusal_log: Arc<RefusalLog>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) body_memory: Arc<BodyMemory>,
    /// The decoy key with which requests to unknown sources are verified, so that the time until
    /// the answer does not reveal whether a source exists.
    pub(crate) decoy: (Scheme, Vec<Key>),
    leaving: AtomicBool,
    slots: TaskTracker,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Ingest {
    /// Starts an ingest, with its publish slots on the current runtime. `ledger` is where refusals
    /// are stored for operators; it is `None` without a store. No request waits for the ledger.
    pub fn start(
        config: Config,
        broker: Arc<dyn Broker>,
        ledger: Option<Arc<dyn Ledger>>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Arc<Self> {
        let (slots, tasks) = (TaskTracker::new(), TaskTracker::new());
        let stop = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let instance = InstanceId::new(clock.now(), rng.ten());
        let Config {
            sources,
            routing,
            digester,
            peers,
            limits,
        } = config;
        let accounting = Accounting::new(instance, Arc::clone(&broker), Arc::clone(&counters));
        let accounting = Arc::new(accounting);
        let conditions = sources.iter().filter_map(|source| {
            let conditions = routing.conditions_of(&source.name);
            let some = !conditions.conditions().is_empty();
            some.then(|| (source.name.as_str().to_owned(), conditions))
        });
        let conditions = conditions.collect();
        let failure_log = FailureLog::start(&tasks, stop.clone());
        let batcher = Batcher::start(
            &slots,
            Arc::clone(&broker),
            routing,
            &limits,
            (instance, Arc::clone(&accounting)),
            (Arc::clone(&counters), failure_log),
        );
        tasks.spawn(accounting.report(stop.clone()));
        let refusals = Refusals::start(&tasks, ledger, Arc::clone(&counters), stop.clone());
        for source in &sources {
            counters.set_keys_end(source.name.as_str(), last_end(&source.keys_now()));
            counters.add_unrouted(source.name.as_str(), 0);
        }
        let refusal_log = RefusalLog::start(&tasks, stop.clone());
        tracing::info!(instance = %instance, sources = sources.len(), "ingest {instance} started");
        let by_name = |source: Source| (source.name.as_str().to_owned(), source);
        Arc::new(Self {
            sources: sources.into_iter().map(by_name).collect(),
            conditions,
            no_conditions: SourceConditions::default(),
            decoy: decoy(&*rng),
            body_memory: BodyMemory::new(&limits),
            digester,
            peers,
            limits,
            broker,
            batcher,
            refusals,
            refusal_log,
            counters,
            clock,
            rng,
            leaving: AtomicBool::new(false),
            slots,
            tasks,
            stop,
        })
    }

    /// Returns the counters since the start of the process.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Returns the conditions of the routes that may select events of a source.
    pub(crate) fn conditions_of(&self, source: &Source) -> &SourceConditions {
        self.conditions
            .get(source.name.as_str())
            .unwrap_or(&self.no_conditions)
    }

    /// Returns the currently configured keys of a source.
    pub fn keys(&self, source: &str) -> Option<Arc<[Key]>> {
        self.sources.get(source).map(Source::keys_now)
    }

    /// Replaces the keys of a source, for example when a file of secrets has changed. Returns
    /// `false` when there is no such source.
    pub fn swap_keys(&self, source: &str, keys: Vec<hookbox_signature::Key>) -> bool {
        let Some(source) = self.sources.get(source) else {
            return false;
        };
        self.counters
            .set_keys_end(source.name.as_str(), last_end(&keys));
        let mut held = source
            .keys
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = keys.into();
        true
    }

    /// Returns whether no request to any source could be verified now, because every key has
    /// expired.
    pub(crate) fn verifies_nothing(&self) -> bool {
        let now = self.clock.now();
        let has_key = |source: &Source| source.keys_now().iter().any(|key| key.is_valid(now));
        !self.sources.values().any(has_key)
    }

    /// Returns whether `/readyz` answers 503 because the process is shutting down.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Makes `/readyz` answer 503, so that a load balancer stops sending. Requests that still
    /// arrive are accepted.
    pub(crate) fn turn_away(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.counters.draining.load(Ordering::Relaxed)
    }

    /// Starts the drain: requests to a source that arrive from now on are answered 503.
    pub(crate) fn begin_drain(&self) {
        self.turn_away();
        self.counters.draining.store(true, Ordering::Relaxed);
    }

    /// Waits until every accepted request has been published or has failed, ends the publish slots,
    /// and then publishes the closing report. The caller limits how long this may take.
    pub async fn finish(&self) {
        self.begin_drain();
        crash_point!("ingest.draining");
        self.batcher.close();
        self.slots.close();
        self.slots.wait().await;
        // Every sequence number is confirmed or void now, so the closing report is complete.
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn decoy(rng: &dyn Rng) -> (Scheme, Vec<Key>) {
    let mut secret = vec![0; 32];
    rng.fill(&mut secret);
    let key = Key::new("decoy", None, secret);
    (Preset::Begini.scheme(), key.into_iter().collect())
}
