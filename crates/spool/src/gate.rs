//! Decides for each queue whether a publish goes to the broker or into the spool, and keeps the
//! order at both transitions: no message overtakes an earlier one of its queue when spooling starts
//! or ends. The queues do not affect each other: a queue that takes nothing keeps only its own
//! messages in the spool.

use std::time::Duration;

use hookbox_driver::Queue;
use tokio::sync::watch;

use crate::gate_state::{EnteredPublish, State};

/// How long a publish that is under way when spooling starts may still wait for the broker. Later
/// events are spooled only after this publish has ended, so their senders wait as well. A healthy
/// broker confirms a publish within this time.
const GRACE: Duration = Duration::from_millis(250);

/// The state of spooling, which decides for every publish where it goes.
pub(super) struct Gate(watch::Sender<State>);

/// Where a publish goes. Both parts have the same position in the order of arrival.
pub(super) struct Entry<'a> {
    /// The part that goes to the broker.
    pub given: Option<Place<'a>>,
    /// The part that goes into the spool.
    pub kept: Option<Place<'a>>,
}

/// The position of one publish in the order of arrival, for some of its queues. Later publishes to
/// these queues that are spooled wait for this publish until this value is dropped.
pub(super) struct Place<'a> {
    gate: &'a Gate,
    number: u64,
    queues: Vec<Queue>,
    is_given: bool,
    is_kept: bool,
    /// Whether the spool may have stored the publish. Only an error can exclude that.
    may_be_stored: bool,
}

/// Holds back new messages of one queue while its last spooled messages are forwarded, so that
/// spooling can end. When this value is dropped, the new messages are published or spooled.
pub(super) struct Closing<'a> {
    gate: &'a Gate,
    queue: Queue,
}

impl Gate {
    /// Creates a gate for a spool that holds messages of these queues. New messages of these queues
    /// are spooled, and all others go to the broker.
    pub fn new(holds: impl IntoIterator<Item = Queue>) -> Self {
        Self(watch::Sender::new(State::holding(holds)))
    }

    pub fn is_spooling(&self, queue: &Queue) -> bool {
        self.0.borrow().is_spooling(queue)
    }

    pub fn is_any_spooling(&self, queues: &[Queue]) -> bool {
        self.0.borrow().is_any_spooling(queues)
    }

    /// Returns the queues whose new messages are spooled.
    pub fn spooling(&self) -> Vec<Queue> {
        self.0.borrow().spooling()
    }

    /// Takes the next position in the order of arrival, and decides for each queue where the
    /// publish goes. Waits first while a [`Closing`] holds back new messages of one of the queues,
    /// so that spooling can end.
    pub async fn enter(&self, queues: &[Queue], may_give: impl Fn() -> bool) -> Entry<'_> {
        loop {
            let may_give = may_give();
            let mut entered = None;
            self.0.send_if_modified(|state| {
                entered = state.enter(queues, may_give);
                entered.as_ref().is_some_and(|it| it.begins)
            });
            if let Some(entered) = entered {
                return self.entry(entered);
            }
            self.until(|state| !state.is_any_closing(queues)).await;
        }
    }

    fn entry(&self, entered: EnteredPublish) -> Entry<'_> {
        let EnteredPublish {
            number,
            given,
            kept,
            begins: _,
        } = entered;
        let place = |queues, is_given| Place {
            gate: self,
            number,
            queues,
            is_given,
            is_kept: !is_given,
            may_be_stored: true,
        };
        // A publish to no queue at all goes to the broker, which refuses it.
        let is_given = !given.is_empty() || kept.is_empty();
        Entry {
            kept: (!kept.is_empty()).then(|| place(kept, false)),
            given: is_given.then(|| place(given, true)),
        }
    }

    /// Holds back new messages of the queue from now on, so that spooling can end. Returns `None`
    /// when the queue is not spooling, or when a publish to the broker is under way that may still
    /// have to be spooled.
    pub fn close(&self, queue: &Queue) -> Option<Closing<'_>> {
        let closes = self.0.send_if_modified(|state| state.close(queue));
        closes.then(|| Closing {
            gate: self,
            queue: queue.clone(),
        })
    }

    /// Waits until everything that the spool holds now for these queues is forwarded: until each of
    /// them is not spooling, or has ended spooling at least once from now on. They need not be so
    /// at the same moment.
    pub async fn until_forwarded(&self, queues: &[Queue]) {
        let ends: Vec<u64> = {
            let state = self.0.borrow();
            queues.iter().map(|queue| state.ends(queue)).collect()
        };
        let is_over = |state: &State| {
            let mut queues = queues.iter().zip(&ends);
            queues.all(|(queue, before)| !state.is_spooling(queue) || state.ends(queue) != *before)
        };
        self.until(is_over).await;
    }

    async fn until(&self, is_so: impl FnMut(&State) -> bool) {
        // `wait_for` fails only when the channel's sender is dropped. The gate owns the sender, so
        // this cannot happen here.
        let _ = self.0.subscribe().wait_for(is_so).await;
    }
}

impl Place<'_> {
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Waits until [`GRACE`] has passed since spooling started for one of the queues. After that,
    /// this publish must stop waiting for the broker, because later events wait for this publish.
    pub async fn is_late(&self) {
        let queues = &self.queues;
        self.gate.until(|state| state.is_any_spooling(queues)).await;
        tokio::time::sleep(GRACE).await;
    }

    /// Marks this publish, which the broker did not take, as a publish that will be spooled. The
    /// publish keeps its position in the order until it is spooled.
    pub fn keep(mut self) -> Self {
        self.is_kept = true;
        let queues = &self.queues;
        self.gate
            .0
            .send_if_modified(|state| state.begin_to_keep(queues));
        self
    }

    /// Waits until every earlier publish to the same queues that was given to the broker is
    /// confirmed or spooled.
    pub async fn is_oldest(&self) {
        let (number, queues) = (self.number, &self.queues);
        self.gate
            .until(|state| !state.is_behind_another(number, queues))
            .await;
    }

    /// Records that the spool has certainly not stored the publish.
    pub fn record_refused(&mut self) {
        self.may_be_stored = false;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.0.send_if_modified(|state| {
            let was_on_the_way = self.is_given && state.arrived(self.number);
            let is_awaited = self.is_kept && state.end_keeping(&self.queues, self.may_be_stored);
            was_on_the_way || is_awaited
        });
    }
}

impl Closing<'_> {
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Waits until no publish to the queue is being spooled.
    pub async fn until_none_is_spooled(&self) {
        let queue = &self.queue;
        self.gate.until(|state| !state.is_keeping(queue)).await;
    }

    /// Ends spooling: new messages of the queue go to the broker again.
    pub fn end(self) {
        self.gate.0.send_modify(|state| state.end(&self.queue));
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.gate.0.send_modify(|state| state.reopen(&self.queue));
    }
}

#[cfg(test)]
mod tests;
