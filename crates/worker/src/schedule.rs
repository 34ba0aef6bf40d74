//! Publishes due retries to the queue of their route, unless the route is paused. A retry is marked
//! as queued only after the broker's confirm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hookbox_crash::crash_point;
use hookbox_driver::{
    Batch, Broker, DueRetry, FaultKind, PublishError, Republish, Store, describe,
};
use hookbox_event::RouteName;
use tokio_util::sync::CancellationToken;

use crate::counters::add;
use crate::inner::Inner;
use crate::pause::Pause;

/// How many retries are taken at a time. Their rows stay locked while they are published, so the
/// number is limited to what the broker confirms in about a second.
const TAKEN_AT_ONCE: u32 = 200;

/// Publishes the due retries of all routes that are not paused. Any number of workers may run a
/// scheduler at the same time.
pub(crate) struct Scheduler<S: Store> {
    pub inner: Arc<Inner<S>>,
}

impl<S: Store> Scheduler<S> {
    pub async fn run(self, shutdown: CancellationToken) {
        let paused = AtomicBool::new(false);
        let mut pause = Pause::new("the retry scheduler", &paused, &self.inner.rng, &shutdown);
        let mut publisher = Publisher {
            broker: &*self.inner.broker,
            routes: Vec::new(),
            is_failing: AtomicBool::new(false),
        };
        loop {
            // Retries and replays of a paused route stay due in the store.
            publisher.routes = self.inner.controls.running(&self.inner.config.all_routes);
            let requeued = tokio::select! {
                biased;
                requeued = self.inner.store.requeue_due(TAKEN_AT_ONCE, &publisher) => requeued,
                () = self.inner.cut.cancelled() => return,
            };
            let after = match requeued {
                Ok(requeued) => {
                    pause.over();
                    if requeued.confirmed > 0 {
                        crash_point!("scheduler.after_mark");
                    }
                    add(&self.inner.counters.requeued, requeued.confirmed.into());
                    let more = requeued.due == TAKEN_AT_ONCE && requeued.confirmed > 0;
                    if more {
                        Ok(())
                    } else {
                        pause.idle(self.inner.config.schedule_interval).await
                    }
                }
                Err(fault) => {
                    if fault.kind() == FaultKind::Unavailable {
                        add(&self.inner.store_faults, 1);
                    }
                    pause.after(&fault).await
                }
            };
            if after.is_err() || shutdown.is_cancelled() {
                return;
            }
        }
    }
}

struct Publisher<'a> {
    broker: &'a dyn Broker,
    /// The routes that have a queue and are not paused.
    routes: Vec<RouteName>,
    /// Whether the last publish failed. Only the first failure in a row is logged as a warning,
    /// because every publish fails, once a second, while the broker confirms none.
    is_failing: AtomicBool,
}

#[async_trait]
impl Republish for Publisher<'_> {
    fn routes(&self) -> Option<&[RouteName]> {
        Some(&self.routes)
    }

    async fn republish(&self, due: &DueRetry) -> bool {
        let Some(batch) = Batch::of(std::slice::from_ref(&due.envelope)) else {
            return false;
        };
        crash_point!("scheduler.before_republish");
        match self
            .broker
            .publish(std::slice::from_ref(&due.route), &batch)
            .await
        {
            Ok(()) => {
                crash_point!("scheduler.after_republish");
                self.is_failing.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                self.log_failure(due, &error);
                false
            }
        }
    }
}

impl Publisher<'_> {
    fn log_failure(&self, due: &DueRetry, error: &PublishError) {
        let (event, route) = (&due.envelope.event, &due.route);
        let error_text = describe(error);
        if self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(
                event.id = %event,
                route = %route,
                error = error_text,
                "another retry could not be published"
            );
            return;
        }
        tracing::warn!(
            event.id = %event,
            route = %route,
            kind = error.kind.as_str(),
            error = error_text,
            "a retry of event {event} is due and could not be published; it stays due, and further \
             failures are logged at debug level until one is published"
        );
    }
}
