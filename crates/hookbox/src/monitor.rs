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
mod state;
mod watch;

use std::sync::Arc;

use hookbox_config::Config;
use tokio::task::JoinSet;

pub use server::bind;
use state::Monitor;
pub use state::{Needs, Parts};

/// A monitor with its listener and its polls of the dependencies. When this value is dropped, the
/// listener and the polls end.
pub struct Monitored {
    monitor: Arc<Monitor>,
    running: JoinSet<()>,
    listens: bool,
}

impl Monitored {
    /// Starts the listener if the config has an address for metrics. Without an address, nothing is
    /// shown and nothing is polled. The broker and the store need not be open yet.
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
