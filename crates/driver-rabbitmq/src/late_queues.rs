//! Holds back queues whose confirm was late, so that one queue that answers nothing delays no
//! message of another queue.
//!
//! A publisher publishes the messages of all queues over its channel, and a late confirm keeps the
//! channel busy until the deadline. So after a late confirm, the publishers publish no message of
//! that queue. Instead, one request at a time is published as a *probe* over a channel of its own.
//! While a probe is in flight, the other requests for the queue fail. The queue is held back until
//! the broker confirms or rejects a message of the queue.
//!
//! Where RabbitMQ handles the messages of one channel in their order, also a queue behind the silent
//! one is late. Its first probe is answered at once then. So requests wait a moment for a probe that
//! has just begun, before they fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_driver::{PublishError, PublishErrorKind};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long after the start of a probe other requests for the same queue wait for its result. A
/// queue that answers does so in milliseconds. While they wait for a queue that does not answer,
/// they keep messages of other queues waiting, so the time is short.
const PROBE_WAIT: Duration = Duration::from_millis(250);

/// The queues that are held back, by their names at the broker.
#[derive(Default)]
pub(crate) struct LateQueues {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// For each queue that is held back, since when its probe is in flight.
    held: BTreeMap<String, Option<Instant>>,
    /// When the broker last confirmed or rejected a message of any queue.
    last_answer: Option<Instant>,
}

/// The right to publish one request to queues that are held back. The next probe may begin when it
/// is dropped.
pub(crate) struct Probe {
    late_queues: Arc<LateQueues>,
    queues: Vec<String>,
    since: Instant,
}

/// What becomes of a request.
enum Admission {
    /// No queue of the request is held back.
    Free,
    Probe(Probe),
    /// A probe of this queue is in flight. The request may wait for its result until this time.
    Held(String, Instant),
}

impl LateQueues {
    /// Returns how a request for these queues is published: as a probe, or, for `None`, by any
    /// publisher.
    ///
    /// # Errors
    /// When the request must not be published, because one of the queues is held back.
    pub async fn enter(self: &Arc<Self>, queues: &[String]) -> Result<Option<Probe>, PublishError> {
        loop {
            // Created before the state is read, so that no change after that is missed.
            let changed = self.changed.notified();
            let now = Instant::now();
            match self.admit(queues, now) {
                Admission::Free => return Ok(None),
                Admission::Probe(probe) => return Ok(Some(probe)),
                Admission::Held(queue, until) if now >= until => {
                    let why = format!("the queue {queue:?} has not confirmed an earlier batch");
                    return Err(PublishError::new(PublishErrorKind::TimedOut, why));
                }
                Admission::Held(_, until) => {
                    // Whether the time is over or something has changed, the state is read again.
                    let _ = timeout_at(until, changed).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, queues: &[String], now: Instant) -> Admission {
        let mut state = self.state();
        let mut of_probe = Vec::new();
        for queue in queues {
            match state.held.get(queue) {
                None => {}
                Some(Some(since)) => return Admission::Held(queue.clone(), *since + PROBE_WAIT),
                Some(None) => of_probe.push(queue.clone()),
            }
        }
        if of_probe.is_empty() {
            return Admission::Free;
        }
        for queue in &of_probe {
            state.held.insert(queue.clone(), Some(now));
        }
        Admission::Probe(Probe {
            late_queues: Arc::clone(self),
            queues: of_probe,
            since: now,
        })
    }

    /// Returns whether any of these queues is held back.
    pub fn is_any_held(&self, queues: &[String]) -> bool {
        let state = self.state();
        !state.held.is_empty() && queues.iter().any(|queue| state.held.contains_key(queue))
    }

    /// Records the end of a publish round: the broker confirmed or rejected messages of the queues
    /// in `answered`, and no confirm of those in `late` arrived in time. A queue may be in both.
    pub fn record(&self, answered: &[String], late: &[String], now: Instant) {
        let mut state = self.state();
        if !answered.is_empty() {
            state.last_answer = Some(now);
        }
        for queue in answered {
            if !late.contains(queue) && state.held.remove(queue).is_some() {
                tracing::info!(queue, "the queue {queue} answers again");
            }
        }
        for queue in late {
            if state.held.contains_key(queue) {
                continue;
            }
            state.held.insert(queue.clone(), None);
            tracing::warn!(
                queue,
                "the queue {queue} did not confirm a message in time; until it answers, one \
                 message at a time is published to it, and the others fail"
            );
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Returns whether the broker has confirmed or rejected a message of any queue since then.
    pub fn has_answered_since(&self, then: Instant) -> bool {
        let last_answer = self.state().last_answer;
        last_answer.is_some_and(|last| last >= then)
    }

    // No code panics while it holds this lock, so the lock is never poisoned.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut state = self.late_queues.state();
        for queue in &self.queues {
            // If the queue answered and was late again meanwhile, another probe may be in flight.
            if let Some(probed) = state.held.get_mut(queue)
                && *probed == Some(self.since)
            {
                *probed = None;
            }
        }
        drop(state);
        self.late_queues.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
