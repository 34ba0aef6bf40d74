//! Runs one route of a worker in periods. Within a period, the route is consumed with the same
//! limits. When an operator pauses the route or sets its limits, the period ends, and the route is
//! drained as at a shutdown.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookbox_driver::{RouteLimits, Store};
use tokio_util::sync::CancellationToken;

use crate::consumer::RouteConsumer;
use crate::controls::RouteMode;
use crate::effects::consumer::EffectConsumer;
use crate::inner::Inner;
use crate::pause::Stopped;
use crate::route_context::RouteContext;
use crate::{Registered, RegisteredEffect, Route, RouteWork};

/// One route of a worker, which operators may pause and limit while it runs.
pub(crate) struct OperatedRoute<S: Store> {
    pub inner: Arc<Inner<S>>,
    /// The position of the route in the config.
    pub index: usize,
    pub shutdown: CancellationToken,
}

impl<S: Store> OperatedRoute<S> {
    /// Takes messages until the shutdown, and then waits until everything that is in flight is
    /// settled. Whenever an operator pauses the route or sets its limits, the route is drained as
    /// at a shutdown: running work gets its outcome, waiting messages return to the queue, and no
    /// attempt is counted. After that, the route is consumed with the new limits, or not at all
    /// until an operator resumes it.
    pub async fn run(self) {
        let (inner, shutdown) = (&self.inner, &self.shutdown);
        let route = &inner.config.routes[self.index];
        let Some(counters) = inner.counters.routes.get(&route.name) else {
            return;
        };
        let mut is_paused = false;
        loop {
            let mode = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                mode = inner.controls.mode(&route.name) => mode,
            };
            log(route, &mode, &mut is_paused);
            let limits = match mode {
                RouteMode::Running(limits) => limits,
                RouteMode::Paused(_) => {
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return,
                        () = inner.controls.other_mode(&route.name, &mode) => continue,
                    }
                }
            };
            let stop = shutdown.child_token();
            let consuming = self.consume(limits, stop.clone());
            tokio::pin!(consuming);
            tokio::select! {
                biased;
                () = &mut consuming => return,
                () = inner.controls.other_mode(&route.name, &mode) => {}
            }
            stop.cancel();
            consuming.await;
            if self.clear_start_markers().await.is_err() {
                return;
            }
            // All work on the route has ended, so the route no longer waits for a dependency.
            for waits in [
                &counters.paused,
                &counters.unsubscribed,
                &counters.target_down,
            ] {
                waits.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Clears the start markers that the drained route has left because the store was unavailable.
    /// This process has survived these starts of handlers. If it ended later without clearing the
    /// markers, their events would be suspected of having ended it.
    async fn clear_start_markers(&self) -> Result<(), Stopped> {
        let inner = &self.inner;
        let route = &inner.config.routes[self.index].name;
        let Some(context) = RouteContext::new(inner, route, &self.shutdown) else {
            return Ok(());
        };
        let left = inner.own_markers.all().into_iter();
        for (_, starts) in left.filter(|(name, _)| name == route) {
            let clear = || inner.store.survived(route, &starts);
            context.until_done(clear).await?;
            inner.own_markers.remove(route, &starts);
        }
        Ok(())
    }

    /// Consumes the queue of the route within these limits until `stop`, and then drains it.
    async fn consume(&self, limits: RouteLimits, stop: CancellationToken) {
        let (inner, index) = (Arc::clone(&self.inner), self.index);
        match &self.inner.config.routes[index].work {
            RouteWork::Handler(handler) => {
                let consumer = RouteConsumer {
                    inner,
                    index,
                    handler: Registered::clone(handler),
                    limits,
                    shutdown: stop,
                };
                consumer.run().await;
            }
            RouteWork::Effect(effect) => {
                let effect = RegisteredEffect::clone(effect);
                let consumer = EffectConsumer::new(inner, index, effect, limits, stop);
                consumer.run().await;
            }
        }
    }
}

/// Logs that a route is paused by an operator, or resumed, or limited.
fn log<S: Store>(route: &Route<S>, mode: &RouteMode, is_paused: &mut bool) {
    let route = &route.name;
    match mode {
        RouteMode::Paused(pause) => {
            *is_paused = true;
            tracing::info!(
                route = %route,
                by = pause.by,
                why = pause.why,
                since = %pause.since,
                "route {route} is paused by {}: its events wait until `hookbox routes resume`",
                pause.by
            );
        }
        RouteMode::Running(limits) => {
            let is_limited = *limits != RouteLimits::default();
            if *is_paused || is_limited {
                tracing::info!(
                    route = %route,
                    limits = %limits,
                    "route {route} takes messages, with {limits}"
                );
            }
            *is_paused = false;
        }
    }
}
