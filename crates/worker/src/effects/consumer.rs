//! Consumes the queue of one route with an effect: takes messages while calls may be made to the
//! target, and has no subscription at other times.

use std::sync::Arc;

use hookbox_crash::crash_point;
use hookbox_driver::{Fault, Queue, RouteLimits, Store, Subscription};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::end_writer::EndWriter;
use super::flight::EndedCall;
use super::gate::{Calls, Stop};
use super::process::EffectProcess;
use super::route::{EffectRoute, Permit};
use crate::RegisteredEffect;
use crate::inner::Inner;
use crate::intake::Intake;
use crate::pace::{self, Pace};
use crate::pause::{Pause, Stopped};
use crate::route_context::RouteContext;

/// How many messages may be in flight while the target is probed. When a probe fails, the
/// subscription is closed. The broker then counts a delivery for each message that it has delivered
/// and that this worker has not taken yet. If only one message is delivered, it is always taken. So
/// even an outage of days does not use up the delivery limit of a message.
const PROBING_PREFETCH: u16 = 1;

/// The consumer of one route with an effect.
pub(crate) struct EffectConsumer<S: Store> {
    route: Arc<EffectRoute<S>>,
    /// The limits that an operator has set.
    limits: RouteLimits,
}

/// Why no further messages are taken from a subscription.
enum TakeEnd {
    /// The worker drains, or an operator has paused the route or set other limits.
    Shutdown,
    /// The state of the gate has changed: calls may be made to the target now, or no longer.
    Changed,
}

impl<S: Store> EffectConsumer<S> {
    pub fn new(
        inner: Arc<Inner<S>>,
        index: usize,
        effect: RegisteredEffect,
        limits: RouteLimits,
        shutdown: CancellationToken,
    ) -> Self {
        let route = Arc::new(EffectRoute::new(inner, index, effect, shutdown));
        Self { route, limits }
    }

    /// Takes messages until the shutdown. Then waits until every message in flight is settled, and
    /// until the end of every call in flight is recorded. This wait ends early if the drain is cut
    /// short.
    pub async fn run(self) {
        let (ends, ended) = unbounded_channel();
        let writer = EndWriter {
            route: Arc::clone(&self.route),
            ended,
        };
        let consume = async {
            self.consume(&ends).await;
            self.route.calls.close();
            self.route.calls.wait().await;
            // The writer ends once all senders are dropped.
            drop(ends);
        };
        tokio::join!(consume, writer.run());
    }

    async fn consume(&self, ends: &UnboundedSender<EndedCall>) {
        let tasks = TaskTracker::new();
        let (inner, shutdown, route) =
            (&self.route.inner, &self.route.shutdown, self.route.config());
        let Some(context) = RouteContext::new(inner, &route.name, shutdown) else {
            return;
        };
        let what = format!("taking messages from route {}", route.name);
        let unsubscribed = &context.counters.unsubscribed;
        let mut pause = Pause::new(&what, unsubscribed, &inner.rng, shutdown);
        let slots = Arc::new(Semaphore::new(route.concurrency_within(self.limits).get()));
        let mut pace = Pace::new(self.limits.rate_per_worker);
        while !shutdown.is_cancelled() {
            let Ok(calls) = self.admit(&context).await else {
                break;
            };
            let prefetch = match calls {
                Calls::Probing => PROBING_PREFETCH,
                Calls::Made | Calls::Stopped(_) => {
                    pace::prefetch(self.limits.rate_per_worker, route.prefetch)
                }
            };
            let queue = Queue::Route(route.name.clone());
            let subscribed = tokio::select! {
                biased;
                subscribed = inner.broker.subscribe(&queue, prefetch) => subscribed,
                () = inner.cut.cancelled() => break,
            };
            let fault = match subscribed {
                Ok(mut subscription) => {
                    pause.over();
                    let ended = self
                        .take(&mut *subscription, calls, (&slots, &mut pace), &tasks, ends)
                        .await;
                    if let Ok(end) = &ended {
                        match end {
                            TakeEnd::Shutdown => crash_point!("worker.draining"),
                            TakeEnd::Changed => {}
                        }
                        // Messages in flight are settled before the subscription closes.
                        tasks.close();
                        tasks.wait().await;
                        tasks.reopen();
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

    /// Waits until calls may be made to the target, as far as this worker and the store know, and
    /// returns the state of the gate.
    async fn admit(&self, context: &RouteContext<'_, S>) -> Result<Calls, Stopped> {
        let route = &self.route;
        loop {
            if let Calls::Stopped(stop) = route.gate.calls() {
                tokio::select! {
                    biased;
                    () = route.shutdown.cancelled() => return Err(Stopped),
                    () = sleep_until(stop.until) => {}
                }
            }
            let blocked = || context.store().blocked(route.target());
            let blocked = tokio::select! {
                biased;
                blocked = context.until_done(blocked) => blocked?,
                () = route.inner.cut.cancelled() => return Err(Stopped),
            };
            match blocked.and_then(Stop::of) {
                Some(stop) => route.stop(stop),
                None => return Ok(route.gate.resume()),
            }
        }
    }

    /// Takes messages whenever another transaction of the route may run and another call may be
    /// made. Returns the fault if the subscription fails.
    async fn take(
        &self,
        subscription: &mut dyn Subscription,
        calls: Calls,
        (slots, pace): (&Arc<Semaphore>, &mut Pace),
        tasks: &TaskTracker,
        ends: &UnboundedSender<EndedCall>,
    ) -> Result<TakeEnd, Fault> {
        let route = &self.route;
        loop {
            let next = async {
                // An error means that a semaphore is closed, which never happens.
                let slot = Arc::clone(slots).acquire_owned().await.ok();
                // The permit is given back before the next message arrives, because a message in
                // flight with more than one event may need it.
                drop(route.permits.acquire().await);
                pace.ready().await;
                let first = subscription.next().await?;
                Ok::<_, Fault>((slot, first))
            };
            let (slot, first) = tokio::select! {
                biased;
                () = route.shutdown.cancelled() => return Ok(TakeEnd::Shutdown),
                () = route.gate.until(|now| now != calls) => return Ok(TakeEnd::Changed),
                next = next => next?,
            };
            let mut permits: Vec<Permit> = Vec::new();
            let mut intake = Intake::default();
            intake.add(first);
            self.route.add_permits(&mut permits, 1);
            self.add_messages(subscription, &mut intake, &mut permits);
            pace.taken(intake.contents.envelopes.len());
            let process = Arc::clone(route).process(intake, permits, slot, ends.clone());
            tasks.spawn(process);
        }
    }

    /// Adds messages that have arrived already, as long as a permit for one more call is free. So
    /// no added message has to wait for the calls of the other messages.
    fn add_messages(
        &self,
        subscription: &mut dyn Subscription,
        intake: &mut Intake,
        permits: &mut Vec<Permit>,
    ) {
        while !intake.is_full() {
            let wanted = intake.contents.envelopes.len() + 1;
            self.route.add_permits(permits, wanted);
            if permits.len() < wanted {
                return;
            }
            match subscription.try_next() {
                Some(delivery) => intake.add(delivery),
                None => return,
            }
        }
    }
}

impl<S: Store> EffectRoute<S> {
    /// Processes messages until they are settled, or until the cut. `slot` is the permit for one of
    /// the transactions that the route may run at once.
    async fn process(
        self: Arc<Self>,
        intake: Intake,
        permits: Vec<Permit>,
        slot: Option<OwnedSemaphorePermit>,
        ends: UnboundedSender<EndedCall>,
    ) {
        let _slot = slot;
        let name = &self.config().name;
        let Some(context) = RouteContext::new(&self.inner, name, &self.shutdown) else {
            return;
        };
        let process = EffectProcess {
            context: &context,
            route: &self,
            ends: &ends,
        };
        tokio::select! {
            biased;
            () = process.run(intake, permits) => {}
            // A delivery that is dropped without having been settled is put back on its queue.
            () = self.inner.cut.cancelled() => {}
        }
    }
}
