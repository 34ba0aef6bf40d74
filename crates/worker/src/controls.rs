//! What operators have set for routes ([`RouteControls`]), as this worker has read it last.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{RouteControls, RouteLimits, RoutePause};
use hookbox_event::RouteName;
use tokio::sync::Notify;

/// What operators have set, as this worker has read it last. While the store is unavailable, the
/// state that was read last stays in force. Before the first read, nothing is known: a route may
/// have been paused before this worker started, so no messages are taken and no retries are
/// published until then. That delays no event, because without the store none could be processed.
pub(crate) struct Controls {
    read: Mutex<Option<RouteControls>>,
    /// Notified whenever `read` has changed. It wakes tasks in the order in which they began to
    /// wait, so that the simulation can repeat a run exactly.
    changed: Notify,
}

/// What a worker does with a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteMode {
    /// Take messages, within these limits of an operator.
    Running(RouteLimits),
    /// Take nothing, because an operator has paused the route.
    Paused(RoutePause),
}

impl Controls {
    pub fn new() -> Self {
        Self {
            read: Mutex::new(None),
            changed: Notify::new(),
        }
    }

    /// Waits for the first read, and returns the mode of the route.
    pub async fn mode(&self, route: &RouteName) -> RouteMode {
        self.mode_that(route, |_| true).await
    }

    /// Waits until the mode of the route differs from `than`.
    pub async fn other_mode(&self, route: &RouteName, than: &RouteMode) {
        self.mode_that(route, |mode| mode != than).await;
    }

    /// Returns the routes that no operator has paused. Before the first read, it returns none.
    pub fn running(&self, routes: &[RouteName]) -> Vec<RouteName> {
        let controls = self.lock();
        let Some(controls) = &*controls else {
            return Vec::new();
        };
        let running = routes.iter().filter(|route| !controls.is_paused(route));
        running.cloned().collect()
    }

    pub fn replace(&self, controls: RouteControls) {
        let mut read = self.lock();
        let is_new = read.as_ref() != Some(&controls);
        *read = Some(controls);
        drop(read);
        if is_new {
            self.changed.notify_waiters();
        }
    }

    async fn mode_that(&self, route: &RouteName, is: impl Fn(&RouteMode) -> bool) -> RouteMode {
        loop {
            // The future is made before the state is read, so that no change is missed.
            let changed = self.changed.notified();
            let mode = self.lock().as_ref().map(|it| RouteMode::of(it, route));
            if let Some(mode) = mode
                && is(&mode)
            {
                return mode;
            }
            changed.await;
        }
    }

    // No code panics while it holds this lock, so the lock is never poisoned.
    fn lock(&self) -> MutexGuard<'_, Option<RouteControls>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RouteMode {
    fn of(controls: &RouteControls, route: &RouteName) -> Self {
        match controls.pause_of(route) {
            Some((_, pause)) => RouteMode::Paused(pause.clone()),
            None => RouteMode::Running(controls.limits_of(route)),
        }
    }
}
