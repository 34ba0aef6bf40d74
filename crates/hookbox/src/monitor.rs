//! The monitoring endpoints of a running hookbox: `/metrics`, `/livez` and `/readyz` on a listener
//! of their own, for every role.
//!
//! Counters of the engines are read when a page is requested; what needs a round trip to a
//! dependency is polled by `watch`, on a timer, so that a scrape never waits.

mod exposition;
mod families;
mod page;
mod readiness;
mod server;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookbox_driver::Broker;
use hookbox_ingest as ingest;
use hookbox_worker as worker;
use tokio::task::JoinSet;

use crate::compose::AnyStore;
use crate::config::Config;
use crate::telemetry::Log;

pub use server::bind;

/// The state that is shown, as far as it is open.
#[derive(Default)]
pub struct Monitor {
    parts: Mutex<Parts>,
    seen: Mutex<watch::Observed>,
}

/// The parts of a running hookbox. All are missing until they are open.
#[derive(Default, Clone)]
pub struct Parts {
    /// The broker.
    pub broker: Option<Arc<dyn Broker>>,
    /// Why it could not be opened yet.
    pub broker_away: Option<String>,
    /// The store, for roles that have one.
    pub store: Option<AnyStore>,
    /// The counters of ingest.
    pub ingest: Option<Arc<ingest::Counters>>,
    /// The counters of the spool, where there is one.
    pub spool: Option<Arc<ingest::SpoolCounters>>,
    /// The spool's file.
    pub spool_file: Option<Arc<dyn Broker>>,
    /// The counters of the worker.
    pub worker: Option<Arc<worker::Counters>>,
    /// The dependencies that the roles need, whether they are open or not.
    pub needs: Needs,
    /// The log, which counts dropped lines.
    pub log: Log,
    /// It is shutting down.
    pub draining: bool,
}

/// The dependencies that the roles of this process need.
#[derive(Debug, Default, Clone, Copy)]
pub struct Needs {
    /// A store, besides the broker that all need.
    pub store: bool,
    /// Whether the store's witnesses are at another broker: not where both are one file.
    pub witness: bool,
}

/// A monitor with its listener and its polls of the dependencies, all of which end with it.
pub struct Monitored {
    monitor: Arc<Monitor>,
    running: JoinSet<()>,
    listens: bool,
}

impl Monitored {
    /// Starts to listen where the config says so; where it does not, nothing is shown and nothing
    /// polled. Dependencies may still be unavailable.
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

    /// A monitor without a listener.
    #[cfg(test)]
    pub fn hidden() -> Self {
        Self {
            monitor: Arc::default(),
            running: JoinSet::new(),
            listens: false,
        }
    }

    /// Shows what is open now.
    pub fn show(&self, change: impl FnOnce(&mut Parts)) {
        self.monitor.change(change);
    }

    /// Polls the dependencies from now on.
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

/// Values that are swapped as a whole: a panic leaves the old or the new one.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
