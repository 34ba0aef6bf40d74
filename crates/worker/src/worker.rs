//! The worker as a whole: its parts are started together, and drain together.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Broker, Clock, Rng, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bookkeep::Bookkeeper;
use crate::collect::Collector;
use crate::consumer::RouteConsumer;
use crate::counters::Counters;
use crate::inner::Inner;
use crate::schedule::Scheduler;
use crate::standstill::Watch;
use crate::witness::{WitnessKeeper, WitnessLog, last_round};
use crate::{Config, SourceSchemas};

/// Between two tries to clear start markers, of the few that there is time for.
const CLEAR_PAUSE: Duration = Duration::from_millis(100);

/// A worker: takes events from the queues of its routes and has them handled.
pub struct Worker<S: Store> {
    inner: Arc<Inner<S>>,
}

impl<S: Store> Worker<S> {
    /// A worker that has not started.
    pub fn new(
        broker: Arc<dyn Broker>,
        store: Arc<S>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        config: Config<S>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner::new(broker, store, clock, rng, config)),
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

    /// Cancelling it while the worker drains drops what still runs: transactions are rolled back,
    /// by their server where it does not answer, and their messages are put back. Nothing is
    /// spent; all of it is redelivered.
    pub fn cut(&self) -> CancellationToken {
        self.inner.cut.clone()
    }

    /// Clears the start markers that this worker set and has not cleared: it ends in order, and has
    /// survived them. For after [`Worker::run`]; it tries until the store has done so, and the
    /// caller bounds how long. What stays counts as a death, of which one alone does nothing but
    /// make its event run alone.
    pub async fn clear_start_markers(&self) {
        let inner = &self.inner;
        for (route, starts) in inner.own_markers.all() {
            while inner.store.survived(&route, &starts).await.is_err() {
                tokio::time::sleep(CLEAR_PAUSE).await;
            }
            inner.own_markers.remove(&route, &starts);
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
            let consumer = RouteConsumer {
                inner: Arc::clone(&self.inner),
                index,
                shutdown: stop.clone(),
            };
            tasks.spawn(consumer.run());
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
                // Half a worker would look alive. The rest drains, and the caller sees that it
                // ended before its shutdown.
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
