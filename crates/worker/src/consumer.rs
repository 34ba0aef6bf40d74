//! Consumes the queue of one route: renews the subscription whenever it fails, and limits how many
//! transactions run at once.

use std::sync::Arc;

use hookbox_crash::crash_point;
use hookbox_driver::{Fault, Queue, Store, Subscription};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::inner::Inner;
use crate::intake::Intake;
use crate::pause::Pause;
use crate::process::Process;
use crate::route_context::RouteContext;
use crate::slot::Slot;
use crate::work::Work;

/// The consumer of one route.
pub(crate) struct RouteConsumer<S: Store> {
    pub inner: Arc<Inner<S>>,
    /// The position of the route in the config.
    pub index: usize,
    pub shutdown: CancellationToken,
}

impl<S: Store> RouteConsumer<S> {
    /// Takes messages until the shutdown, and then waits until everything that is in flight is
    /// settled.
    pub async fn run(self) {
        let tasks = TaskTracker::new();
        let (inner, shutdown) = (&self.inner, &self.shutdown);
        let route = &inner.config.routes[self.index];
        let Some(counters) = inner.counters.routes.get(&route.name) else {
            return;
        };
        let what = format!("taking messages from route {}", route.name);
        let mut pause = Pause::new(&what, &counters.unsubscribed, &inner.rng, shutdown);
        let slots = Arc::new(Semaphore::new(route.concurrency.get()));
        while !shutdown.is_cancelled() {
            let queue = Queue::Route(route.name.clone());
            let subscribed = tokio::select! {
                biased;
                subscribed = inner.broker.subscribe(&queue, route.prefetch) => subscribed,
                () = inner.cut.cancelled() => break,
            };
            let fault = match subscribed {
                Ok(mut subscription) => {
                    pause.over();
                    let ended = self.take(&mut *subscription, &slots, &tasks).await;
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

    /// Takes messages whenever fewer transactions of the route run than its `concurrency` allows.
    /// Returns `Ok` at the shutdown, and the fault if the subscription fails.
    async fn take(
        &self,
        subscription: &mut dyn Subscription,
        slots: &Arc<Semaphore>,
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
                first = subscription.next() => first?,
            };
            let mut intake = Intake::default();
            intake.add(first);
            while !intake.is_full() {
                match subscription.try_next() {
                    Some(delivery) => intake.add(delivery),
                    None => break,
                }
            }
            let (inner, index) = (Arc::clone(&self.inner), self.index);
            let shutdown = self.shutdown.clone();
            tasks.spawn(async move {
                let route = &inner.config.routes[index];
                let Some(context) = RouteContext::new(&inner, &route.name, &shutdown) else {
                    return;
                };
                let process = Process {
                    context: &context,
                    work: Work::Handle(route),
                    slot: &Slot::new(permit),
                };
                tokio::select! {
                    biased;
                    // What is not finished at a shutdown is redelivered, and nothing else follows.
                    _finished = process.run(intake) => {}
                    // A delivery that is dropped without having been settled is put back on its
                    // queue.
                    () = inner.cut.cancelled() => {}
                }
            });
        }
    }
}
