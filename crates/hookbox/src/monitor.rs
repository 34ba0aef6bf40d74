//! The monitoring endpoints of a running hookbox: `/metrics`, `/livez` and `/readyz`, on a separate
//! listener, for every role.
//!
//! Counters of ingest and worker are read when a page is requested. Values that need a round trip
//! to a dependency are polled by `watch` on a timer, so that a scrape never waits.

mod exposition;
mod families;
mod page;
mod readiness;
mod server;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookbox_config::Config;
use hookbox_driver::Broker;
use hookbox_ingest as ingest;
use hookbox_worker as worker;
use tokio::task::JoinSet;

use crate::compose::AnyStore;
use crate::telemetry::Log;

pub use server::bind;

/// The state that the endpoints show. Parts of the process that are not open yet are absent.
#[derive(Default)]
pub struct Monitor {
    parts: Mutex<Parts>,
    seen: Mutex<watch::Observed>,
}

/// The parts of a running hookbox. Each part is `None` until it is open.
#[derive(Default, Clone)]
pub struct Parts {
    /// The broker.
    pub broker: Option<Arc<dyn Broker>>,
    /// Why the last attempt to connect to the broker failed, while the broker is not open yet.
    pub broker_away: Option<String>,
    /// The store, if a role of this process needs one.
    pub store: Option<AnyStore>,
    /// The counters of ingest.
    pub ingest: Option<Arc<ingest::Counters>>,
    /// The counters of the spool, if there is a spool.
    pub spool: Option<Arc<hookbox_spool::SpoolCounters>>,
    /// The spool's SQLite file, as a broker.
    pub spool_file: Option<Arc<dyn Broker>>,
    /// The counters of the worker.
    pub worker: Option<Arc<worker::Counters>>,
    /// The dependencies that the roles need, whether or not they are open yet.
    pub needs: Needs,
    /// The log, which counts the lines that were dropped.
    pub log: Log,
    /// Whether the process is shutting down.
    pub draining: bool,
}

/// The dependencies that the roles of this process need.
#[derive(Debug, Default, Clone, Copy)]
pub struct Needs {
    /// Whether the roles need a store, in addition to the broker that every role needs.
    pub store: bool,
    /// Whether a broker separate from the store holds the store's witness messages, which show that
    /// one of the two was restored. False if both are one SQLite file.
    pub witness: bool,
}

/// A monitor with its listener and its polls of the dependencies. Dropping it ends both.
pub struct Monitored {
    monitor: Arc<Monitor>,
    running: JoinSet<()>,
    listens: bool,
}

impl Monitored {
    /// Starts the listener if the config has an address for metrics. Without an address, nothing is
    /// shown and nothing is polled. The broker and the store may still be unavailable.
    pub async fn start(config: &Config, needs: Needs) -> anyhow::Result<Self> {
        let monitor = Arc::new(Monitor::default());
        monitor.change(|parts| parts.needs = needs);
        let mut running = JoinSet::new();
        if let Some(address) = config.metrics {
            let listener = bind(address).await?;
            let address = listener.local_addr()?;
            tracing::info!(address = %address, "metrics are at http://{address}/metrics");
            running.spawn(server::serve(listener, Arc::clone(&monitor)));
        }
        Ok(Self {
            monitor,
            running,
            listens: config.metrics.is_some(),
        })
    }

    /// Returns a monitor without a listener.
    #[cfg(test)]
    pub fn hidden() -> Self {
        Self {
            monitor: Arc::default(),
            running: JoinSet::new(),
            listens: false,
        }
    }

    /// Changes the parts that are shown, for example when a dependency is open.
    pub fn show(&self, change: impl FnOnce(&mut Parts)) {
        self.monitor.change(change);
    }

    /// Starts to poll the dependencies.
    pub fn watch(&mut self) {
        if self.listens {
            self.running.spawn(watch::watch(Arc::clone(&self.monitor)));
        }
    }
}

impl Monitor {
    fn change(&self, change: impl FnOnce(&mut Parts)) {
        change(&mut lock(&self.parts));
    }

    fn parts(&self) -> Parts {
        lock(&self.parts).clone()
    }

    fn observed(&self) -> watch::Observed {
        lock(&self.seen).clone()
    }
}

/// Locks a value that is always replaced as a whole: after a panic it is either the old or the new
/// value.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
