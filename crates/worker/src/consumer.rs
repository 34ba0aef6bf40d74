//! Consumes the queue of one route with a handler: renews the subscription whenever it fails, and
//! limits how many transactions run at once and how many events are taken per second.

use std::sync::Arc;

use hookbox_crash::crash_point;
use hookbox_driver::{Fault, Queue, RouteLimits, Store, Subscription};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Registered;
use crate::inner::Inner;
use crate::intake::Intake;
use crate::pace::{self, Pace};
use crate::pause::Pause;
use crate::process::Process;
use crate::route_context::RouteContext;
use crate::slot::Slot;
use crate::work::Work;

/// The consumer of one route with a handler.
pub(crate) struct RouteConsumer<S: Store> {
    pub inner: Arc<Inner<S>>,
    /// The position of the route in the config.
    pub index: usize,
    /// The handler of the route.
    pub handler: Registered<S>,
    /// The limits that an operator has set.
    pub limits: RouteLimits,
    /// Cancelled at the shutdown, and when an operator pauses the route or sets other limits.
    pub shutdown: CancellationToken,
}

impl<S: Store> RouteConsumer<S> {
    /// Takes messages until the shutdown of the route, and then waits until everything that is in
    /// flight is settled.
    pub async fn run(self) {
        let tasks = TaskTracker::new();
        let (inner, shutdown) = (&self.inner, &self.shutdown);
        let route = &inner.config.routes[self.index];
        let Some(counters) = inner.counters.routes.get(&route.name) else {
            return;
        };
        let what = format!("taking messages from route {}", route.name);
        let mut pause = Pause::new(&what, &counters.unsubscribed, &inner.rng, shutdown);
        let slots = Arc::new(Semaphore::new(route.concurrency_within(self.limits).get()));
        let mut pace = Pace::new(self.limits.rate_per_worker);
        let prefetch = pace::prefetch(self.limits.rate_per_worker, route.prefetch);
        while !shutdown.is_cancelled() {
            let queue = Queue::Route(route.name.clone());
            let subscribed = tokio::select! {
                biased;
                subscribed = inner.broker.subscribe(&queue, prefetch) => subscribed,
                () = inner.cut.cancelled() => break,
            };
            let fault = match subscribed {
                Ok(mut subscription) => {
                    pause.over();
                    let taken = self.take(&mut *subscription, &slots, &mut pace, &tasks);
                    let ended = taken.await;
                    if ended.is_ok() {
                        crash_point!("worker.draining");
                        // Transactions that still run settle their messages before the subscription
                        // closes.
                        tasks.close();
                        tasks.wait().await;
                    }
                    subscription.close().await;
                    ended.err()
                }
                Err(fault) => Some(fault),
            };
            if let Some(fault) = fault
                && pause.after(&fault).await.is_err()
            {
                break;
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Takes messages whenever one of the slots for transactions is free and the rate of the route
    /// allows another message. Returns `Ok` at the shutdown, and the fault if the subscription
    /// fails.
    async fn take(
        &self,
        subscription: &mut dyn Subscription,
        slots: &Arc<Semaphore>,
        pace: &mut Pace,
        tasks: &TaskTracker,
    ) -> Result<(), Fault> {
        loop {
            let permit = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                permit = Arc::clone(slots).acquire_owned() => permit,
            };
            // An error means that the semaphore is closed, which never happens.
            let Ok(permit) = permit else { return Ok(()) };
            let first = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                first = async {
                    pace.ready().await;
                    subscription.next().await
                } => first?,
            };
            let mut intake = Intake::default();
            intake.add(first);
            while !intake.is_full() {
                match subscription.try_next() {
                    Some(delivery) => intake.add(delivery),
                    None => break,
                }
            }
            pace.taken(intake.contents.envelopes.len());
            let (inner, index) = (Arc::clone(&self.inner), self.index);
            let handler = Registered::clone(&self.handler);
            let shutdown = self.shutdown.clone();
            tasks.spawn(async move {
                let route = &inner.config.routes[index];
                let Some(context) = RouteContext::new(&inner, &route.name, &shutdown) else {
                    return;
                };
                let process = Process {
                    context: &context,
                    work: Work::Handle {
                        route,
                        handler: &handler,
                        may_run: true,
                    },
                    slot: &Slot::new(permit),
                };
                tokio::select! {
                    biased;
                    // Messages that are not finished at a shutdown are redelivered. Nothing else
                    // has to be done.
                    _finished = process.run(intake) => {}
                    // A delivery that is dropped without having been settled is put back on its
                    // queue.
                    () = inner.cut.cancelled() => {}
                }
            });
        }
    }
}
