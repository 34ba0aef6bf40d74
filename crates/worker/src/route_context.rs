//! The state that all work on one route shares, and waiting while a dependency of the route is
//! unavailable.

use hookbox_driver::{Fault, FaultKind, Store};
use hookbox_event::{EventId, EventNumber, RouteName};
use tokio_util::sync::CancellationToken;

use crate::Route;
use crate::counters::{RouteCounters, add};
use crate::inner::Inner;
use crate::newest_rule::NewestRule;
use crate::pause::{Pause, Stopped};

/// One route of one worker, with the state that all work on this route shares.
pub(crate) struct RouteContext<'a, S: Store> {
    pub inner: &'a Inner<S>,
    pub route: &'a RouteName,
    pub counters: &'a RouteCounters,
    pub shutdown: &'a CancellationToken,
}

impl<'a, S: Store> RouteContext<'a, S> {
    /// Creates the context; `None` for a route that this worker does not handle.
    pub fn new(
        inner: &'a Inner<S>,
        route: &'a RouteName,
        shutdown: &'a CancellationToken,
    ) -> Option<Self> {
        Some(Self {
            inner,
            route,
            counters: inner.counters.routes.get(route)?,
            shutdown,
        })
    }

    pub fn store(&self) -> &S {
        &self.inner.store
    }

    /// Returns the number of an event that the transaction has claimed.
    pub fn number(&self, tx: &S::Tx, event: &EventId) -> Result<EventNumber, Fault> {
        let none = || {
            Fault::plain(
                FaultKind::Internal,
                "number an event: the store does not know the number of a claimed event",
            )
        };
        let number = self.store().number(tx, self.route, event);
        number.ok_or_else(none)
    }

    /// Returns the rule by which the route applies only the newest event of each key, with the
    /// present time.
    pub fn newest<'r>(&self, route: &'r Route<S>) -> Option<NewestRule<'r>>
    where
        'a: 'r,
    {
        Some(NewestRule {
            newest: route.newest.as_ref()?,
            digester: &self.inner.config.digester,
            now: self.inner.clock.now(),
        })
    }

    /// Returns [`Stopped`] once the worker drains: then no further transaction starts, because the
    /// parts of a failed batch could take several more time limits of the handler. The messages are
    /// released, and no attempt is counted.
    pub fn may_start(&self) -> Result<(), Stopped> {
        if self.shutdown.is_cancelled() {
            return Err(Stopped);
        }
        Ok(())
    }

    /// Creates the counter of consecutive faults for one piece of work.
    pub fn pause(&self) -> Pause<'_> {
        let rng = &self.inner.rng;
        let paused = &self.counters.paused;
        Pause::new(self.route.as_str(), paused, rng, self.shutdown)
    }

    /// Waits after a fault. If the fault shows that the store is unavailable, it is counted.
    pub async fn wait(&self, pause: &mut Pause<'_>, fault: &Fault) -> Result<(), Stopped> {
        let wait = self.wait_uncounted(pause, fault);
        self.inner.wait_and_count(fault, wait).await
    }

    /// Waits after a fault, and does not count it as a sign that the store is unavailable.
    pub async fn wait_uncounted(
        &self,
        pause: &mut Pause<'_>,
        fault: &Fault,
    ) -> Result<(), Stopped> {
        add(&self.counters.faults, 1);
        pause.after(fault).await
    }

    /// Repeats an operation of the store until it succeeds, also through an outage, or until the
    /// shutdown.
    pub async fn until_done<T, F>(
        &self,
        mut operation: impl FnMut() -> F + Send,
    ) -> Result<T, Stopped>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let mut pause = self.pause();
        loop {
            match operation().await {
                Ok(done) => {
                    pause.over();
                    return Ok(done);
                }
                Err(fault) => self.wait(&mut pause, &fault).await?,
            }
        }
    }
}
