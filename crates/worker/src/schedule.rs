//! Due retries go back to their queue: published with a confirm, and only then marked.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Broker, DueRetry, FaultKind, Republish, Store, describe};
use hookbox_event::RouteName;
use tokio_util::sync::CancellationToken;

use crate::counters::add;
use crate::pause::{After, Pause};
use crate::run::Inner;

/// How many retries are taken at a time. Their rows stay locked while they are published, so it
/// is bounded by what the broker confirms in about a second.
const TAKEN_AT_ONCE: u32 = 200;

/// Looks for retries that are due, for all routes. Every worker may run one.
pub(crate) struct Scheduler<S: Store> {
    pub inner: Arc<Inner<S>>,
}

impl<S: Store> Scheduler<S> {
    pub async fn run(self, shutdown: CancellationToken) {
        let paused = AtomicBool::new(false);
        let mut pause = Pause::new("the retry scheduler", &paused, &self.inner.rng, &shutdown);
        let publisher = Publisher {
            broker: &*self.inner.broker,
            routes: &self.inner.config.all_routes,
        };
        loop {
            let requeued = tokio::select! {
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
                        After::Again
                    } else {
                        self.idle(&shutdown).await
                    }
                }
                Err(fault) => {
                    if fault.kind() == FaultKind::Unavailable {
                        add(&self.inner.store_faults, 1);
                    }
                    pause.after(&fault).await
                }
            };
            if after == After::ShutDown || shutdown.is_cancelled() {
                return;
            }
        }
    }

    async fn idle(&self, shutdown: &CancellationToken) -> After {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => After::ShutDown,
            () = tokio::time::sleep(self.inner.config.schedule_interval) => After::Again,
        }
    }
}

struct Publisher<'a> {
    broker: &'a dyn Broker,
    routes: &'a [RouteName],
}

#[async_trait]
impl Republish for Publisher<'_> {
    fn routes(&self) -> Option<&[RouteName]> {
        Some(self.routes)
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
                true
            }
            Err(error) => {
                tracing::warn!(
                    event.id = %due.envelope.event,
                    route = %due.route,
                    kind = error.kind.as_str(),
                    error = describe(&error),
                    "a retry of event {} is due and could not be published; it stays due",
                    due.envelope.event
                );
                false
            }
        }
    }
}
