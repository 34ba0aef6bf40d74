//! Holds back queues whose confirm was late, so that one queue that answers nothing delays no
//! message of another queue.
//!
//! A publisher publishes the messages of all queues over its channel, and a late confirm keeps the
//! channel busy until the deadline. So after a late confirm, the publishers publish no message of
//! that queue. Instead, one request at a time is published as a *probe* over a channel of its own.
//! While a probe is in flight, the other requests for the queue fail. The queue is held back until
//! the broker confirms or rejects a message of the queue.
//!
//! A probe may be for several queues, and those that answer may be late because of one that does
//! not. So a request for fewer queues than the probe does not wait for it, and is published as
//! another probe.
//!
//! Where RabbitMQ handles the messages of one channel in their order, also a queue behind the
//! silent one is late. Its first probe is answered at once then. So requests wait a moment for a
//! probe that has just begun, before they fail.

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_driver::{PublishError, PublishErrorKind};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long after the start of a probe other requests for the same queue wait for its result. A
/// queue that answers does so in milliseconds. While they wait for a queue that does not answer,
/// they keep messages of other queues waiting, so the time is short.
const PROBE_WAIT: Duration = Duration::from_millis(250);

/// How long the next probe of a queue waits at most for the broker to close the channel of a late
/// one: after the first late probe, the second, the third, and each further one. RabbitMQ may not
/// close the channel before the queue answers (H7), so the waits limit how many such channels are
/// open. They are short at first, because a queue may soon have another leader.
const CLOSE_WAITS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// The queues that are held back, by their names at the broker.
#[derive(Default)]
pub(crate) struct LateQueues {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    held: BTreeMap<String, HeldQueue>,
    /// When the broker last confirmed or rejected a message of any queue.
    last_answer: Option<Instant>,
}

/// A queue that is held back.
#[derive(Default)]
struct HeldQueue {
    probe: Option<InFlight>,
    /// The number of probes that were late since the queue last answered.
    late_probes: usize,
}

/// A probe that is in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
struct InFlight {
    since: Instant,
    /// The number of queues of the request, also of those that are not held back.
    queues: usize,
}

/// The right to publish one request to queues that are held back. The next probe may begin when it
/// is dropped.
pub(crate) struct Probe {
    late_queues: Arc<LateQueues>,
    /// The queues of the request that are held back.
    queues: Vec<String>,
    in_flight: InFlight,
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
            let Some(held) = state.held.get(queue) else {
                continue;
            };
            match held.probe {
                Some(probe) if probe.queues <= queues.len() => {
                    return Admission::Held(queue.clone(), probe.since + PROBE_WAIT);
                }
                Some(_) | None => of_probe.push(queue.clone()),
            }
        }
        if of_probe.is_empty() {
            return Admission::Free;
        }
        let in_flight = InFlight {
            since: now,
            queues: queues.len(),
        };
        for queue in &of_probe {
            if let Some(held) = state.held.get_mut(queue) {
                held.probe = Some(in_flight);
            }
        }
        Admission::Probe(Probe {
            late_queues: Arc::clone(self),
            queues: of_probe,
            in_flight,
        })
    }

    /// Returns whether any of these queues is held back.
    pub fn is_any_held(&self, queues: &[String]) -> bool {
        let state = self.state();
        !state.held.is_empty() && queues.iter().any(|queue| state.held.contains_key(queue))
    }

    /// Records the end of a publish round: the broker confirmed or rejected messages of the queues
    /// in `answered`, the last of them at `last_answer`, and no confirm of those in `late` arrived
    /// in time. A queue may be in both.
    pub fn record(&self, answered: &[String], late: &[String], last_answer: Option<Instant>) {
        let (mut answering, mut newly_late) = (Vec::new(), Vec::new());
        let mut state = self.state();
        // A publish round whose last answer came earlier may end later.
        state.last_answer = state.last_answer.max(last_answer);
        for queue in answered {
            if !late.contains(queue) {
                if state.held.remove(queue).is_some() {
                    answering.push(queue);
                }
            } else if let Some(held) = state.held.get_mut(queue) {
                held.late_probes = 0;
            }
        }
        for queue in late {
            if let Entry::Vacant(vacant) = state.held.entry(queue.clone()) {
                vacant.insert(HeldQueue::default());
                newly_late.push(queue);
            }
        }
        drop(state);
        self.changed.notify_waiters();
        // Every publish takes the lock, so nothing is logged while it is held.
        for queue in answering {
            tracing::info!(queue, "the queue {queue} answers again");
        }
        for queue in newly_late {
            tracing::warn!(
                queue,
                "the queue {queue} did not confirm a message in time; until it answers, one \
                 message at a time is published to it, and the others fail"
            );
        }
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

impl Probe {
    /// Records that a confirm of this probe was late. Returns how long the next probe of its queues
    /// waits at most for the broker to close the channel of this one.
    pub fn record_late(&self) -> Duration {
        let mut state = self.late_queues.state();
        let mut wait = Duration::ZERO;
        for queue in &self.queues {
            if let Some(held) = state.held.get_mut(queue)
                && held.probe == Some(self.in_flight)
            {
                wait = wait.max(CLOSE_WAITS[held.late_probes.min(CLOSE_WAITS.len() - 1)]);
                held.late_probes += 1;
            }
        }
        wait
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut state = self.late_queues.state();
        for queue in &self.queues {
            // Another probe may be in flight: one for fewer queues, or, if the queue answered and
            // was late again meanwhile, any.
            if let Some(held) = state.held.get_mut(queue)
                && held.probe == Some(self.in_flight)
            {
                held.probe = None;
            }
        }
        drop(state);
        self.late_queues.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
