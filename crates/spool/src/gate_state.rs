//! The state of the gate: for each queue, whether new messages are spooled, and how many publishes
//! are under way.

use std::collections::{BTreeMap, HashMap};

use hookbox_driver::Queue;

/// The state of all queues.
#[derive(Default)]
pub(super) struct State {
    queues: HashMap<Queue, QueueState>,
    /// The next position in the order of arrival. One order for all queues lets a publish to
    /// several queues take its position in all of them at once.
    next: u64,
    /// The positions of publishes that were given to the broker and are neither confirmed nor
    /// spooled yet, with the queues to which they were given.
    on_the_way: BTreeMap<u64, Vec<Queue>>,
}

#[derive(Default)]
struct QueueState {
    /// Whether new messages are spooled. It stays true until everything that the spool holds for
    /// the queue is forwarded.
    spooling: bool,
    /// Whether the last spooled messages are being forwarded, while new messages wait.
    closing: bool,
    /// The number of publishes that are being written to the spool, or wait for earlier publishes
    /// before they are written.
    keeping: usize,
    /// Whether the spool may hold messages of the queue that were written since spooling started.
    holds: bool,
    /// How many times spooling has ended.
    ends: u64,
}

/// A publish that has taken its position in the order of arrival.
pub(super) struct EnteredPublish {
    pub number: u64,
    /// The queues to which the broker takes the publish.
    pub given: Vec<Queue>,
    /// The queues whose messages are spooled.
    pub kept: Vec<Queue>,
    /// Whether spooling starts with this publish for one of the queues.
    pub begins: bool,
}

impl State {
    /// Creates the state of a spool that holds messages of these queues.
    pub fn holding(queues: impl IntoIterator<Item = Queue>) -> Self {
        let mut state = Self::default();
        for queue in queues {
            let of_queue = state.of(&queue);
            (of_queue.spooling, of_queue.holds) = (true, true);
        }
        state
    }

    pub fn is_spooling(&self, queue: &Queue) -> bool {
        self.queues.get(queue).is_some_and(|it| it.spooling)
    }

    pub fn is_any_spooling(&self, queues: &[Queue]) -> bool {
        queues.iter().any(|queue| self.is_spooling(queue))
    }

    pub fn is_any_closing(&self, queues: &[Queue]) -> bool {
        let mut states = queues.iter().filter_map(|queue| self.queues.get(queue));
        states.any(|it| it.closing)
    }

    pub fn is_keeping(&self, queue: &Queue) -> bool {
        self.queues.get(queue).is_some_and(|it| it.keeping > 0)
    }

    /// Returns the queues whose new messages are spooled.
    pub fn spooling(&self) -> Vec<Queue> {
        let spooling = self.queues.iter().filter(|(_, it)| it.spooling);
        spooling.map(|(queue, _)| queue.clone()).collect()
    }

    /// Returns how many times spooling has ended for this queue.
    pub fn ends(&self, queue: &Queue) -> u64 {
        self.queues.get(queue).map_or(0, |it| it.ends)
    }

    /// Takes the next position for a publish to these queues, and decides for each queue where the
    /// publish goes. Returns `None` while new messages of one of the queues are held back.
    pub fn enter(&mut self, queues: &[Queue], may_give: bool) -> Option<EnteredPublish> {
        if self.is_any_closing(queues) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let is_given = |queue: &Queue| may_give && !self.is_spooling(queue);
        let (given, kept): (Vec<Queue>, Vec<Queue>) = queues.iter().cloned().partition(is_given);
        if !given.is_empty() {
            self.on_the_way.insert(number, given.clone());
        }
        let begins = self.begin_to_keep(&kept);
        Some(EnteredPublish {
            number,
            given,
            kept,
            begins,
        })
    }

    /// Counts one more publish to these queues that is spooled. Returns whether spooling starts
    /// with it for one of the queues.
    pub fn begin_to_keep(&mut self, queues: &[Queue]) -> bool {
        let mut begins = false;
        for queue in queues {
            let of_queue = self.of(queue);
            of_queue.keeping += 1;
            begins |= !of_queue.spooling;
            of_queue.spooling = true;
        }
        begins
    }

    /// Counts one publish to these queues less that is being written to the spool. If no publish
    /// was stored since spooling started, spooling ends again at once, because no message of the
    /// queue is in the spool: a full spool must not keep events from a broker that takes them.
    /// Returns whether a task may wait for this.
    pub fn end_keeping(&mut self, queues: &[Queue], may_be_stored: bool) -> bool {
        let mut is_awaited = false;
        for queue in queues {
            let of_queue = self.of(queue);
            of_queue.keeping -= 1;
            if may_be_stored && !of_queue.holds {
                of_queue.holds = true;
                tracing::warn!(
                    %queue,
                    "the broker takes nothing for {queue}: new messages are kept in the spool"
                );
            }
            let is_vain = of_queue.keeping == 0 && !of_queue.holds && !of_queue.closing;
            if is_vain {
                of_queue.end();
            }
            is_awaited |= is_vain || of_queue.closing;
        }
        is_awaited
    }

    /// Removes a publish that was given to the broker and is confirmed or spooled now. Returns
    /// whether it was on the way.
    pub fn arrived(&mut self, number: u64) -> bool {
        self.on_the_way.remove(&number).is_some()
    }

    /// Returns whether a publish to one of these queues was given to the broker, has an earlier
    /// position than `number`, and is neither confirmed nor spooled yet.
    pub fn is_behind_another(&self, number: u64, queues: &[Queue]) -> bool {
        let mut earlier = self.on_the_way.range(..number);
        earlier.any(|(_, given)| given.iter().any(|queue| queues.contains(queue)))
    }

    /// Holds back new messages of the queue. Returns `false`, and changes nothing, if the queue is
    /// not spooling, or if a publish to it is on its way to the broker and may still have to be
    /// spooled.
    pub fn close(&mut self, queue: &Queue) -> bool {
        let is_on_the_way = self.on_the_way.values().any(|given| given.contains(queue));
        let of_queue = self.of(queue);
        let closes = of_queue.spooling && !of_queue.closing && !is_on_the_way;
        of_queue.closing |= closes;
        closes
    }

    /// Lets new messages of the queue through again.
    pub fn reopen(&mut self, queue: &Queue) {
        self.of(queue).closing = false;
    }

    /// Ends spooling for the queue.
    pub fn end(&mut self, queue: &Queue) {
        self.of(queue).end();
    }

    fn of(&mut self, queue: &Queue) -> &mut QueueState {
        self.queues.entry(queue.clone()).or_default()
    }
}

impl QueueState {
    fn end(&mut self) {
        self.spooling = false;
        self.holds = false;
        self.ends += 1;
    }
}
