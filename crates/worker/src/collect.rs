//! Moves the broker's dead messages into the store, so that operators find all dead letters in one
//! place.
//!
//! A message in the broker's own dead-letter queue never reached a handler: the broker gave up
//! delivering it. It becomes a dead letter like any other, and costs the event no attempt.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hookbox_driver::{DeadReason, Delivery, Queue, Store};
use hookbox_event::RouteName;
use tokio_util::sync::CancellationToken;

use crate::counters::{RouteCounters, add};
use crate::inner::Inner;
use crate::intake::Intake;
use crate::pause::{Pause, Stopped};
use crate::process::Process;
use crate::route_context::RouteContext;
use crate::slot::Slot;
use crate::work::Work;

/// How many dead messages may be in flight at once. Dead messages are rare, and eight use little
/// memory.
const PREFETCH: u16 = 8;

/// The name that is stored as the route of a dead message if no route belongs to its queue.
const FALLBACK_ROUTE: &str = "unrouted";

/// Takes messages from the broker's dead-letter queue and stores them.
pub(crate) struct Collector<S: Store> {
    pub inner: Arc<Inner<S>>,
}

impl<S: Store> Collector<S> {
    pub async fn run(self, shutdown: CancellationToken) {
        let paused = AtomicBool::new(false);
        let what = "collecting the broker's dead letters";
        let mut pause = Pause::new(what, &paused, &self.inner.rng, &shutdown);
        while !shutdown.is_cancelled() {
            let subscribed = tokio::select! {
                biased;
                subscribed = self.inner.broker.subscribe(&Queue::Dead, PREFETCH) => subscribed,
                () = self.inner.cut.cancelled() => return,
            };
            let fault = match subscribed {
                Ok(mut subscription) => {
                    pause.over();
                    let fault = loop {
                        let next = tokio::select! {
                            biased;
                            () = shutdown.cancelled() => break None,
                            next = subscription.next() => next,
                        };
                        match next {
                            Ok(delivery) => self.keep(delivery, &shutdown).await,
                            Err(fault) => break Some(fault),
                        }
                    };
                    subscription.close().await;
                    fault
                }
                Err(fault) => Some(fault),
            };
            if let Some(fault) = fault
                && pause.after(&fault).await.is_err()
            {
                return;
            }
        }
    }

    async fn keep(&self, delivery: Delivery, shutdown: &CancellationToken) {
        let Some(route) = route_of(delivery.died_in.as_deref()) else {
            return;
        };
        let mut intake = Intake::default();
        intake.add(delivery);
        let collected = intake.contents.envelopes.len() + intake.contents.undecodable.len();
        let counters = RouteCounters::default();
        let counters = self.inner.counters.routes.get(&route).unwrap_or(&counters);
        let detail = "the broker gave up delivering it (delivery limit)";
        let context = RouteContext {
            inner: &self.inner,
            route: &route,
            counters,
            shutdown,
        };
        let process = Process {
            context: &context,
            work: Work::GiveUp {
                reason: DeadReason::DeliveryLimit,
                detail,
            },
            slot: &Slot::default(),
        };
        let finished = tokio::select! {
            biased;
            finished = process.run(intake) => finished,
            // A delivery that is dropped without having been settled is put back on its queue.
            () = self.inner.cut.cancelled() => Err(Stopped),
        };
        if finished.is_ok() {
            add(&self.inner.counters.collected, collected as u64);
        }
    }
}

/// Returns the route that a queue belongs to: queues are named `….route.{name}`.
fn route_of(queue: Option<&str>) -> Option<RouteName> {
    queue
        .and_then(|queue| queue.rsplit_once("route."))
        .and_then(|(_, name)| name.parse().ok())
        .or_else(|| FALLBACK_ROUTE.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_tells_its_route() {
        let route = |queue| route_of(queue).map(|route| route.as_str().to_owned());
        assert_eq!(
            route(Some("hookbox.prod.route.scores")).as_deref(),
            Some("scores")
        );
        assert_eq!(route(Some("route.scores")).as_deref(), Some("scores"));
        assert_eq!(route(Some("elsewhere")).as_deref(), Some("unrouted"));
        assert_eq!(route(None).as_deref(), Some("unrouted"));
    }
}
