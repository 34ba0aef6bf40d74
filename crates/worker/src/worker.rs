//! The worker as a whole: starts its parts and drains them in order.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Broker, Clock, Rng, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bookkeep::Bookkeeper;
use crate::collect::Collector;
use crate::controls_reader::ControlsReader;
use crate::counters::Counters;
use crate::inner::Inner;
use crate::operated_route::OperatedRoute;
use crate::schedule::Scheduler;
use crate::standstill::Watch;
use crate::witness::{WitnessKeeper, WitnessLog, last_round};
use crate::{Config, RefusedHandler, SourceSchemas, handler_check};

/// The pause between two tries to clear start markers. The shutdown leaves time for a few tries
/// only.
const CLEAR_PAUSE: Duration = Duration::from_millis(100);

/// A worker: takes events from the queues of its routes and runs their handlers.
pub struct Worker<S: Store> {
    inner: Arc<Inner<S>>,
}

impl<S: Store> Worker<S> {
    /// Creates a worker without starting it.
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

    /// Returns the counters since the start of the worker.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.inner.counters)
    }

    /// Returns the schemas that bodies are checked against, so that they can be replaced when they
    /// are reloaded.
    pub fn schemas(&self) -> SourceSchemas {
        self.inner.config.schemas.clone()
    }

    /// Returns a token that cuts a drain short. When it is cancelled, running handlers are dropped
    /// and their messages are put back. Their transactions are rolled back; a server that does not
    /// answer rolls them back by itself later. No attempt is spent, and every message is
    /// redelivered. External calls are dropped, too: their leases end by themselves, and then the
    /// calls are made again.
    pub fn cut(&self) -> CancellationToken {
        self.inner.cut.clone()
    }

    /// Lets the handler of each route check that its database accepts what it will run. Call this
    /// before [`Worker::run`].
    ///
    /// # Errors
    /// When a handler cannot run on the database, or when the database is unavailable.
    pub async fn check_handlers(&self) -> Result<(), RefusedHandler> {
        handler_check::check_all(&*self.inner.store, &self.inner.config.routes).await
    }

    /// Clears the start markers that this worker has set and not cleared. A worker that shuts down
    /// in an orderly way has survived these starts of handlers. Call this after [`Worker::run`].
    /// It retries until the store has cleared the markers, and the caller limits how long that may
    /// take. A marker that stays counts as a process death; a single one only makes its event run
    /// in isolation.
    pub async fn clear_start_markers(&self) {
        let inner = &self.inner;
        for (route, starts) in inner.own_markers.all() {
            while inner.store.survived(&route, &starts).await.is_err() {
                tokio::time::sleep(CLEAR_PAUSE).await;
            }
            inner.own_markers.remove(&route, &starts);
        }
    }

    /// Works until `shutdown`, then drains: takes no further messages, brings running transactions
    /// to their outcomes, records how external calls in flight end, puts the other messages back,
    /// and returns. The caller limits how long that may take. It returns before `shutdown` only
    /// when a part of the worker panicked.
    ///
    /// Each transaction runs in its own task, so dropping this future stops no transaction
    /// half-way. Only the token of [`cut`](Self::cut) stops them: the worker then drops its
    /// transactions and closes their connections, and the server rolls each transaction back (H8).
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
        let controls = ControlsReader {
            inner: Arc::clone(&self.inner),
        };
        tasks.spawn(controls.run(stop.clone()));
        for index in 0..self.inner.config.routes.len() {
            let route = OperatedRoute {
                inner: Arc::clone(&self.inner),
                index,
                shutdown: stop.clone(),
            };
            tasks.spawn(route.run());
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
                // If the worker continued without the part that panicked, it would look alive. So
                // the rest drains, and the caller sees that the worker ended before its shutdown.
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
