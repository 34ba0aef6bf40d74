//! Consumes the queue of one route with a handler: renews the subscription whenever it fails, and
//! limits how many transactions run at once and how many events are taken per second.

use std::sync::Arc;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Fault, Queue, RouteLimits, Store, Subscription};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Registered;
use crate::inner::Inner;
use crate::intake::Intake;
use crate::pace::{self, Pace};
use crate::pause::Pause;
use crate::process::Process;
use crate::route_context::RouteContext;
use crate::running_handlers::RunningHandlers;
use crate::slot::Slots;
use crate::work::Work;

/// How long the drain of a route waits for transactions beside the time that their handlers may
/// take. A transaction that has not ended by then has most likely a handler that blocks its thread,
/// so that it cannot be stopped at its time limit.
const DRAIN_MARGIN: Duration = Duration::from_secs(15);

/// The consumer of one route with a handler.
pub(crate) struct RouteConsumer<S: Store> {
    pub inner: Arc<Inner<S>>,
    /// The position of the route in the config.
    pub index: usize,
    /// The handler of the route.
    pub handler: Registered<S>,
    /// The limits that an operator has set.
    pub limits: RouteLimits,
    /// As many permits for transactions as the config allows. Transactions that did not end when
    /// the route was drained before have kept theirs.
    pub permits: Arc<Semaphore>,
    /// Cancelled at the shutdown, and when an operator pauses the route or sets other limits.
    pub shutdown: CancellationToken,
}

impl<S: Store> RouteConsumer<S> {
    /// Takes messages until the shutdown of the route, and then waits until everything that is in
    /// flight is settled. Returns the tasks that have not ended although their handlers have taken
    /// longer than they may. The broker may redeliver their messages.
    pub async fn run(self) -> TaskTracker {
        let tasks = TaskTracker::new();
        let (inner, shutdown) = (&self.inner, &self.shutdown);
        let route = &inner.config.routes[self.index];
        let Some(counters) = inner.counters.routes.get(&route.name) else {
            return tasks;
        };
        let what = format!("taking messages from route {}", route.name);
        let mut pause = Pause::new(&what, &counters.unsubscribed, &inner.rng, shutdown);
        let slots = Slots::new(&self.permits, route.concurrency_within(self.limits));
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
                        drain(&tasks, &counters.running).await;
                        subscription.close().await;
                        return tasks;
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
        drain(&tasks, &counters.running).await;
        tasks
    }

    /// Takes messages whenever one of the slots for transactions is free and the rate of the route
    /// allows another message. Returns `Ok` at the shutdown, and the fault if the subscription
    /// fails.
    async fn take(
        &self,
        subscription: &mut dyn Subscription,
        slots: &Slots,
        pace: &mut Pace,
        tasks: &TaskTracker,
    ) -> Result<(), Fault> {
        loop {
            let slot = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                slot = slots.acquire() => slot,
            };
            let Some(slot) = slot else { return Ok(()) };
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
                    slot: &slot,
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

/// Waits until all tasks have ended. Returns earlier if none has ended for as long as the running
/// handlers may take and [`DRAIN_MARGIN`].
async fn drain(tasks: &TaskTracker, running: &RunningHandlers) {
    tasks.close();
    let (mut since, mut count) = (Instant::now(), tasks.len());
    loop {
        // A task may start its handler only now.
        let may_take = running.longest().saturating_add(DRAIN_MARGIN);
        let rest = may_take.saturating_sub(since.elapsed());
        if timeout(rest, tasks.wait()).await.is_ok() {
            return;
        }
        if tasks.len() < count {
            // The others may have waited for the task that has ended.
            (since, count) = (Instant::now(), tasks.len());
        } else if rest.is_zero() {
            return;
        }
    }
}
