//! The task that reads what operators have set for routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookbox_driver::{RouteControls, Store};
use tokio_util::sync::CancellationToken;

use crate::inner::Inner;
use crate::pause::Pause;

/// How often a worker reads what operators have set. A change takes effect within two seconds: the
/// sum of this interval and the time to read and to subscribe. Each read is one query of a table
/// with at most one row for each route.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The task that reads what operators have set.
pub(crate) struct ControlsReader<S: Store> {
    pub inner: Arc<Inner<S>>,
}

impl<S: Store> ControlsReader<S> {
    /// Reads every [`READ_EVERY`] until the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let paused = AtomicBool::new(false);
        let what = "reading what operators have set for routes";
        let mut pause = Pause::new(what, &paused, &self.inner.rng, &shutdown);
        let mut is_first = true;
        loop {
            let read = tokio::select! {
                biased;
                read = self.inner.store.route_controls() => read,
                () = self.inner.cut.cancelled() => return,
            };
            let after = match read {
                Ok(controls) => {
                    pause.over();
                    if is_first {
                        self.set_waiting(false);
                        is_first = false;
                    }
                    self.show(&controls);
                    self.inner.controls.replace(controls);
                    pause.idle(READ_EVERY).await
                }
                Err(fault) => {
                    if is_first {
                        self.set_waiting(true);
                    }
                    let wait = pause.after(&fault);
                    self.inner.wait_and_count(&fault, wait).await
                }
            };
            if after.is_err() {
                return;
            }
        }
    }

    /// Sets in the counters of all routes whether they are paused because the store is unavailable.
    /// This is for the time before the first read, when no route takes messages.
    fn set_waiting(&self, are_waiting: bool) {
        for counters in self.inner.counters.routes.values() {
            counters.paused.store(are_waiting, Ordering::Relaxed);
        }
    }

    fn show(&self, controls: &RouteControls) {
        for (route, counters) in &self.inner.counters.routes {
            let pause = controls.pause_of(route);
            counters.set_operator_pause(pause.map(|(_, pause)| pause));
        }
    }
}
