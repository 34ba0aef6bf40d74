//! The faults that may strike in a run. Each fault has a name, so that a report can show which
//! faults struck and how often.

use std::collections::BTreeMap;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $weight:literal;)*) => {
        /// One fault of the broker, the store, a process or a sender.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All faults.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// Returns the name of the fault in reports.
            pub fn as_str(self) -> &'static str {
                match self { $(Fault::$name => $word,)* }
            }

            /// Returns the rate of the fault: how many times it strikes in a thousand
            /// opportunities. Each run multiplies this by a factor from a half to two. The rates
            /// are low enough for the engines to make progress. A fault with the rate 0 is
            /// inflicted by other code, for example at random times.
            pub(crate) fn per_mille(self) -> u64 {
                match self { $(Fault::$name => $weight,)* }
            }
        }
    };
}

faults! {
    /// The broker rejects the publish; nothing is stored.
    Nack = "publish_nacked", 60;
    /// One queue does not exist for this publish; the other queues store the message.
    Returned = "publish_returned", 40;
    /// A message is stored in some of its queues, and then its publish fails.
    PartlyStored = "publish_partly_stored", 60;
    /// The publish is stored, and its confirm never arrives.
    ConfirmLost = "confirm_lost", 60;
    /// The connection breaks before the publish arrives.
    LostBeforePublish = "connection_lost_before_publish", 40;
    /// The connection breaks after the publish was stored.
    LostAfterPublish = "connection_lost_after_publish", 40;
    /// The publish is not confirmed in time, and is stored long after.
    StoredLate = "publish_stored_late", 40;
    /// One publish is stored as two messages.
    StoredTwice = "publish_stored_twice", 40;
    /// The broker has a resource alarm and blocks publishers.
    Blocked = "broker_blocked", 30;
    /// The broker is unavailable for a while.
    BrokerAway = "broker_away", 0;
    /// All connections of one process break.
    ConnectionLost = "connection_lost", 0;
    /// Subscribing fails.
    SubscribeFailed = "subscribe_failed", 100;
    /// A message is delivered to a consumer, and also stays ready for another consumer.
    DeliveredTwice = "delivered_twice", 60;
    /// A message is delivered before an older message of the same queue.
    Reordered = "reordered", 200;
    /// The ack is sent and never arrives, so the message is redelivered.
    AckLost = "ack_lost", 60;
    /// The ack arrives long after it was sent.
    AckLate = "ack_late", 60;
    /// The ack fails, and the message is redelivered.
    AckFailed = "ack_failed", 60;
    /// An ack is sent for a delivery whose connection is gone.
    AckStale = "ack_stale", 0;
    /// The broker moves a message to the dead-letter queue, as at its delivery limit.
    GaveUp = "broker_gave_up", 8;
    /// A queue holds bytes that are not a batch.
    Garbage = "garbage_in_queue", 0;
    /// The store is unavailable for a while.
    StoreAway = "store_away", 0;
    /// A statement fails because the connection is gone; the transaction ends with it.
    StatementLost = "statement_lost", 25;
    /// The store ends a transaction to resolve a deadlock.
    Deadlock = "deadlock", 40;
    /// A handler's statement waits for a lock of another session, and fails.
    ForeignLock = "foreign_lock", 60;
    /// A handler's statement fails because a database permission is missing.
    MissingRight = "missing_right", 60;
    /// A transaction is committed, but the commit returns an error.
    CommittedUnknown = "committed_and_unknown", 60;
    /// A transaction is not committed, and the commit returns an error.
    AbortedUnknown = "aborted_and_unknown", 60;
    /// The commit returns an error, and the transaction is committed later.
    CommittedLate = "committed_late", 30;
    /// A transaction whose process has died keeps its locks for a while.
    Zombie = "zombie_transaction", 200;
    /// A failure or undecodable bytes are recorded, but the call that records them returns an
    /// error.
    RecordedUnknown = "recorded_and_unknown", 80;
    /// An operation takes up to a few seconds.
    Slow = "slow_operation", 20;
    /// A process dies during an operation of the broker or the store.
    KilledAtStep = "killed_at_step", 6;
    /// A process dies at a random time.
    KilledAnytime = "killed_anytime", 0;
    /// A process is asked to stop, and drains.
    Drained = "drained", 0;
    /// A draining process must end early, and abandons its running handlers.
    Cut = "drain_cut", 500;
    /// A process starts with a clock that is wrong by up to a day.
    ClockWrong = "clock_wrong", 300;
    /// An operator replays a dead letter.
    Replayed = "dead_letter_replayed", 0;
    /// The sender disconnects before its response.
    SenderLeft = "sender_left", 60;
    /// A request is answered, and the response never reaches the sender.
    AnswerLost = "answer_lost", 60;
    /// A request is posted without a valid signature.
    Forged = "forged_request", 0;
}

/// The faults that a run may have, how often each of them strikes, and how often each has struck.
pub(crate) struct Faults {
    /// How often each fault strikes, in a thousand opportunities.
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
