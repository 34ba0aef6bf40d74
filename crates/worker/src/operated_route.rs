//! Runs one route of a worker in periods. Within a period, the route is consumed with the same
//! limits. When an operator pauses the route or sets its limits, the period ends, and the route is
//! drained as at a shutdown. Transactions that take longer than they may do not keep the next
//! period from beginning. Only the end of the worker waits for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookbox_driver::{RouteLimits, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::consumer::RouteConsumer;
use crate::controls::RouteMode;
use crate::counters::RouteCounters;
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
        let mut left = Vec::new();
        self.run_periods(&mut left).await;
        for tasks in left {
            tasks.close();
            tasks.wait().await;
        }
    }

    /// Consumes the route in one period after another, until the shutdown. Adds to `left` the tasks
    /// that have not ended when their period was over.
    async fn run_periods(&self, left: &mut Vec<TaskTracker>) {
        let (inner, shutdown) = (&self.inner, &self.shutdown);
        let route = &inner.config.routes[self.index];
        let Some(counters) = inner.counters.routes.get(&route.name) else {
            return;
        };
        let permits = Arc::new(Semaphore::new(route.concurrency.get()));
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
            let consuming = self.consume(limits, &permits, stop.clone());
            tokio::pin!(consuming);
            let ended = tokio::select! {
                biased;
                tasks = &mut consuming => Some(tasks),
                () = inner.controls.other_mode(&route.name, &mode) => None,
            };
            if let Some(tasks) = ended {
                left.push(tasks);
                return;
            }
            stop.cancel();
            left.push(consuming.await);
            left.retain(|tasks| !tasks.is_empty());
            if left.is_empty() {
                if self.clear_start_markers().await.is_err() {
                    return;
                }
            } else {
                let transactions = left.iter().map(TaskTracker::len).sum();
                log_left(route, counters, transactions);
            }
            // All work on the route that may still change has ended, so the route no longer waits
            // for a dependency.
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
    /// Returns the tasks that have not ended.
    async fn consume(
        &self,
        limits: RouteLimits,
        permits: &Arc<Semaphore>,
        stop: CancellationToken,
    ) -> TaskTracker {
        let (inner, index) = (Arc::clone(&self.inner), self.index);
        match &self.inner.config.routes[index].work {
            RouteWork::Handler(handler) => {
                let consumer = RouteConsumer {
                    inner,
                    index,
                    handler: Registered::clone(handler),
                    limits,
                    permits: Arc::clone(permits),
                    shutdown: stop,
                };
                consumer.run().await
            }
            RouteWork::Effect(effect) => {
                let effect = RegisteredEffect::clone(effect);
                let consumer = EffectConsumer::new(inner, index, effect, limits, stop);
                consumer.run().await;
                TaskTracker::new()
            }
        }
    }
}

/// Logs that transactions of a route have not ended although it was drained.
fn log_left<S: Store>(route: &Route<S>, counters: &RouteCounters, transactions: usize) {
    let route = &route.name;
    if counters.running.count() == 0 {
        // No handler runs, so the store has not answered. They end when it answers or is given up.
        tracing::warn!(
            route = %route,
            transactions,
            "{transactions} transactions of route {route} wait for the store; the route continues \
             without them, and their messages may be redelivered"
        );
        return;
    }
    tracing::error!(
        route = %route,
        transactions,
        "{transactions} transactions of route {route} have taken longer than their handlers may, \
         and cannot be stopped; the route continues without them, and their messages may be \
         redelivered; restart the worker to end them"
    );
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
