//! The state that all work on one route with an effect shares.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookbox_driver::{LeaseTerms, Store, TargetName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Gate, Stop, StopCause};
use super::{LEASE_MARGIN, LOST_MAX};
use crate::inner::Inner;
use crate::{RegisteredEffect, Route};

/// The permit for one of the calls that this worker may have in flight.
pub(crate) type Permit = OwnedSemaphorePermit;

/// One route with an effect, with the state that all work on this route shares.
pub(crate) struct EffectRoute<S: Store> {
    pub inner: Arc<Inner<S>>,
    /// The position of the route in the config.
    pub index: usize,
    pub effect: RegisteredEffect,
    pub shutdown: CancellationToken,
    pub gate: Gate,
    /// The permits for calls to the target, which other routes may share. A permit is given back
    /// when the end of its call is recorded, because the store counts the call as in flight until
    /// then.
    pub permits: Arc<Semaphore>,
    /// The tasks of the calls that are in flight.
    pub calls: TaskTracker,
    /// Why the last call of this route did not reach the target, or how the target asked for a
    /// pause; `None` when the target has answered since, or when only other routes or workers have
    /// called it.
    last_error: Mutex<Option<String>>,
}

impl<S: Store> EffectRoute<S> {
    pub fn new(
        inner: Arc<Inner<S>>,
        index: usize,
        effect: RegisteredEffect,
        shutdown: CancellationToken,
    ) -> Self {
        let permits = inner.target_permits.of(effect.target(), effect.limits());
        Self {
            inner,
            index,
            effect,
            shutdown,
            gate: Gate::new(),
            permits,
            calls: TaskTracker::new(),
            last_error: Mutex::new(None),
        }
    }

    pub fn config(&self) -> &Route<S> {
        &self.inner.config.routes[self.index]
    }

    pub fn target(&self) -> &TargetName {
        self.effect.target()
    }

    /// Returns the conditions under which the events of the route get leases.
    pub fn terms(&self) -> LeaseTerms<'_> {
        LeaseTerms {
            target: self.target(),
            limits: self.effect.limits(),
            length: self.effect.time_limit().saturating_add(LEASE_MARGIN),
            lost_max: LOST_MAX,
        }
    }

    /// Notes that no calls may be made to the target. If the target is the cause, this is also
    /// shown in the counters of the route, and logged once.
    pub fn stop(&self, stop: Stop) {
        self.gate.stop(stop);
        let is_pause = match stop.cause {
            StopCause::Limit => return,
            StopCause::Pause => true,
            StopCause::Fault => false,
        };
        if self.show_as_down(true) {
            return;
        }
        let (name, target) = (&self.config().name, self.target());
        let error = self.last_error();
        let error = error.as_deref().unwrap_or("see `hookbox targets list`");
        if is_pause {
            tracing::warn!(
                route = %name,
                target.name = %target,
                error,
                "{target}, the target of route {name}, asked for a pause; the route's messages \
                 wait in its queue meanwhile, and no event loses an attempt"
            );
        } else {
            tracing::error!(
                route = %name,
                target.name = %target,
                error,
                "{target}, the target of route {name}, is not reached; the route's messages wait \
                 in its queue, no event loses an attempt, and one call at a time is tried until \
                 one is answered"
            );
        }
    }

    /// Notes why a call did not reach the target, or how the target asked for a pause.
    pub fn note_error(&self, error: &str) {
        *self.lock_error() = Some(error.to_owned());
    }

    /// Returns why the last call of this route did not reach the target, if that is known.
    pub fn last_error(&self) -> Option<String> {
        self.lock_error().clone()
    }

    fn lock_error(&self) -> MutexGuard<'_, Option<String>> {
        let error = self.last_error.lock();
        error.unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the target has answered a call.
    pub fn answered(&self) {
        *self.lock_error() = None;
        if !self.gate.answered() || !self.show_as_down(false) {
            return;
        }
        let (name, target) = (&self.config().name, self.target());
        tracing::info!(
            route = %name,
            target.name = %target,
            "{target}, the target of route {name}, answers again; the route resumes"
        );
    }

    /// Sets in the counters of the route whether the target is down, and returns the previous
    /// value.
    fn show_as_down(&self, is_down: bool) -> bool {
        let counters = self.inner.counters.routes.get(&self.config().name);
        counters.is_some_and(|counters| counters.target_down.swap(is_down, Ordering::Relaxed))
    }

    /// Takes further permits that are free now, until there are as many as wanted.
    pub fn add_permits(&self, held: &mut Vec<Permit>, wanted: usize) {
        while held.len() < wanted {
            match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) => held.push(permit),
                Err(_none_is_free) => return,
            }
        }
    }
}
