//! The faults of a run, by name, so that a report can show that each of them happened.

use std::collections::BTreeMap;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $weight:literal;)*) => {
        /// One way in which the world around the engines misbehaves.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every one.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// Its name in reports.
            pub fn as_str(self) -> &'static str {
                match self { $(Fault::$name => $word,)* }
            }

            /// How often it strikes where it could, out of a thousand, when a run has it at full
            /// strength: as often as leaves the engines able to make progress.
            pub(crate) fn per_mille(self) -> u64 {
                match self { $(Fault::$name => $weight,)* }
            }
        }
    };
}

faults! {
    /// The broker rejects the publish; nothing is stored.
    Nack = "publish_nacked", 60;
    /// A queue is not there for this publish; the others have it.
    Returned = "publish_returned", 40;
    /// Stored in some of its queues, and then an error.
    PartlyStored = "publish_partly_stored", 60;
    /// Stored, and the confirm never comes.
    ConfirmLost = "confirm_lost", 60;
    /// The connection breaks before the publish arrives.
    LostBeforePublish = "connection_lost_before_publish", 40;
    /// The connection breaks after the publish was stored.
    LostAfterPublish = "connection_lost_after_publish", 40;
    /// Not confirmed in time, and stored long after.
    StoredLate = "publish_stored_late", 40;
    /// One publish, two messages.
    StoredTwice = "publish_stored_twice", 40;
    /// The broker has an alarm.
    Blocked = "broker_blocked", 30;
    /// The broker is unavailable for a while.
    BrokerAway = "broker_away", 0;
    /// All connections of one process break.
    ConnectionLost = "connection_lost", 0;
    /// Subscribing fails.
    SubscribeFailed = "subscribe_failed", 100;
    /// Delivered, and ready for another consumer as well.
    DeliveredTwice = "delivered_twice", 60;
    /// Another message than the oldest comes first.
    Reordered = "reordered", 200;
    /// The ack never arrives: the message is redelivered.
    AckLost = "ack_lost", 60;
    /// The ack arrives much later.
    AckLate = "ack_late", 60;
    /// The ack fails, and the message is redelivered.
    AckFailed = "ack_failed", 60;
    /// An ack for a delivery of a connection that is gone.
    AckStale = "ack_stale", 0;
    /// The broker gives up a message and dead-letters it.
    GaveUp = "broker_gave_up", 8;
    /// Bytes that are no batch stand in a queue.
    Garbage = "garbage_in_queue", 0;
    /// The store is unavailable for a while.
    StoreAway = "store_away", 0;
    /// A statement fails because the connection is gone; the transaction with it.
    StatementLost = "statement_lost", 25;
    /// The store ends a transaction to resolve a deadlock.
    Deadlock = "deadlock", 40;
    /// A handler's statement waits for a lock of another session, and fails.
    ForeignLock = "foreign_lock", 60;
    /// A handler's statement is denied a right.
    MissingRight = "missing_right", 60;
    /// The commit took, and the answer is an error.
    CommittedUnknown = "committed_and_unknown", 60;
    /// The commit did not take, and the answer is an error.
    AbortedUnknown = "aborted_and_unknown", 60;
    /// The answer is an error, and the commit takes later.
    CommittedLate = "committed_late", 30;
    /// A transaction whose owner is gone keeps its locks for a while.
    Zombie = "zombie_transaction", 200;
    /// a failure or undecodable bytes is written, and the answer is an error.
    RecordedUnknown = "recorded_and_unknown", 80;
    /// An operation takes seconds.
    Slow = "slow_operation", 20;
    /// A process dies, at a step of one of the seams.
    KilledAtStep = "killed_at_step", 6;
    /// A process dies, at any moment.
    KilledAnytime = "killed_anytime", 0;
    /// A process is asked to stop, and drains.
    Drained = "drained", 0;
    /// A process that drains is not let finish: it lets go of what runs.
    Cut = "drain_cut", 500;
    /// A process starts with a clock that is wrong by up to a day.
    ClockWrong = "clock_wrong", 300;
    /// An operator replays a dead letter.
    Replayed = "dead_letter_replayed", 0;
    /// The sender disconnects before its response.
    SenderLeft = "sender_left", 60;
    /// The answer was given, and never arrives.
    AnswerLost = "answer_lost", 60;
    /// A request is posted without a valid signature.
    Forged = "forged_request", 0;
}

/// Which faults a run has, how often, and what came of it.
pub(crate) struct Faults {
    /// Out of a thousand.
    rates: BTreeMap<Fault, u64>,
    pub counts: BTreeMap<Fault, u64>,
    pub calm: bool,
}

impl Faults {
    pub fn new(rates: BTreeMap<Fault, u64>) -> Self {
        Self {
            rates,
            counts: BTreeMap::new(),
            calm: false,
        }
    }

    pub fn rate(&self, fault: Fault) -> u64 {
        if self.calm {
            0
        } else {
            self.rates.get(&fault).copied().unwrap_or(0)
        }
    }

    pub fn has(&self, fault: Fault) -> bool {
        !self.calm && self.rates.contains_key(&fault)
    }

    pub fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }
}
