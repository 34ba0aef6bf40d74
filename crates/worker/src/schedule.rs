//! Publishes due retries to the queue of their route, unless the route is paused. A retry is marked
//! as queued only after the broker's confirm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Broker, DueRetry, PublishError, Republish, Store, describe};
use hookbox_event::{Envelope, RouteName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::counters::add;
use crate::inner::Inner;
use crate::pause::Pause;
use crate::retry_batches::batches;

/// How many retries are taken at a time. Their rows stay locked while they are published, so the
/// number is limited to what the broker confirms in about a second, even if each is published in a
/// batch of its own.
const TAKEN_AT_ONCE: u32 = 512;

/// For how long the retries of a route stay in the store when the broker has confirmed none of
/// those that were published. Those that are due for the longest time are taken first. So the
/// retries of one queue that accepts no messages would otherwise be taken again and again, and
/// those of other routes never.
const LEFT_OUT_FOR: Duration = Duration::from_secs(5);

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
            left_out: Mutex::default(),
            is_failing: AtomicBool::new(false),
        };
        loop {
            // Retries and replays of a paused route stay due in the store.
            let running = self.inner.controls.running(&self.inner.config.all_routes);
            publisher.routes = publisher.accepted(running);
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
                    let more = requeued.due > 0 && requeued.confirmed == requeued.due;
                    if more {
                        Ok(())
                    } else {
                        pause.idle(self.inner.config.schedule_interval).await
                    }
                }
                Err(fault) => {
                    let wait = pause.after(&fault);
                    self.inner.wait_and_count(&fault, wait).await
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
    /// The routes whose retries are taken: those that have a queue, are not paused and are not left
    /// out.
    routes: Vec<RouteName>,
    /// The routes that are left out, and until when.
    left_out: Mutex<BTreeMap<RouteName, Instant>>,
    /// Whether the last publish failed. Only the first failure in a row is logged as a warning,
    /// because every publish fails, once a second, while the broker confirms none.
    is_failing: AtomicBool,
}

#[async_trait]
impl Republish for Publisher<'_> {
    fn routes(&self) -> Option<&[RouteName]> {
        Some(&self.routes)
    }

    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let batches = batches(due);
        let published = batches.iter().map(|batch| {
            let retries = batch.iter().map(|position| due[*position]);
            self.publish(retries.collect())
        });
        let mut is_confirmed = vec![false; due.len()];
        for (batch, is_published) in batches.iter().zip(join_all(published).await) {
            for position in batch {
                is_confirmed[*position] = is_published;
            }
        }
        self.leave_out(due, &is_confirmed);
        is_confirmed
    }
}

impl Publisher<'_> {
    /// Returns those of the given routes that are not left out.
    fn accepted(&self, mut routes: Vec<RouteName>) -> Vec<RouteName> {
        let (mut left_out, now) = (self.left_out(), Instant::now());
        left_out.retain(|_, until| *until > now);
        routes.retain(|route| !left_out.contains_key(route));
        routes
    }

    /// Leaves out the routes of which no retry was confirmed.
    fn leave_out(&self, due: &[&DueRetry], is_confirmed: &[bool]) {
        let pairs = || due.iter().zip(is_confirmed);
        let confirmed = pairs().filter(|(_, is_confirmed)| **is_confirmed);
        let confirmed: BTreeSet<&RouteName> = confirmed.map(|(retry, _)| &retry.route).collect();
        let refused = pairs().map(|(retry, _)| &retry.route);
        let refused = refused.filter(|route| !confirmed.contains(route));
        let until = Instant::now() + LEFT_OUT_FOR;
        let mut left_out = self.left_out();
        for route in refused {
            left_out.insert(route.clone(), until);
        }
    }

    fn left_out(&self) -> MutexGuard<'_, BTreeMap<RouteName, Instant>> {
        // No code panics while it holds this lock, so the map is never left half-changed.
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes retries of one route and topic as one batch. Returns whether the broker has
    /// confirmed it.
    async fn publish(&self, retries: Vec<&DueRetry>) -> bool {
        let envelopes: Vec<Envelope> = retries.iter().map(|it| it.envelope.clone()).collect();
        let (Some(first), Some(batch)) = (retries.first(), Batch::of(&envelopes)) else {
            return false;
        };
        crash_point!("scheduler.before_republish");
        let route = std::slice::from_ref(&first.route);
        match self.broker.publish(route, &batch).await {
            Ok(()) => {
                crash_point!("scheduler.after_republish");
                self.is_failing.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                self.log_failure(first, retries.len(), &error);
                false
            }
        }
    }

    fn log_failure(&self, first: &DueRetry, events: usize, error: &PublishError) {
        let (event, route) = (&first.envelope.event, &first.route);
        let error_text = describe(error);
        if self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(
                event.id = %event,
                route = %route,
                events,
                error = error_text,
                "further retries could not be published"
            );
            return;
        }
        tracing::warn!(
            event.id = %event,
            route = %route,
            events,
            kind = error.kind.as_str(),
            error = error_text,
            "{events} due retries could not be published (the first is of event {event}); they \
             stay due, and further failures are logged at debug level until retries are published"
        );
    }
}
