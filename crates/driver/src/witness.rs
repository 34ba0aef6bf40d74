//! Compares a store with the witness messages that its broker holds (docs/ACCOUNTING.md). They show
//! whether the store or the broker was restored, emptied or replaced.
//!
//! The store records the number of the newest witness message that its broker has confirmed, and
//! the broker keeps the newest witness messages of its store. This is the only way to identify a
//! broker. A broker without the expected witness messages is another broker, or was emptied.

use hookbox_event::{Incarnation, InstanceId, ReportedUpTo, RouteName, Timestamp, Witness};
use serde::{Serialize, Serializer};

/// The largest number of ingest processes that a witness message lists. The message lists the
/// newest of them. The limit keeps a message within a few KiB.
pub const WITNESS_INGESTS_MAX: u32 = 32;

/// The number of witness messages that a broker keeps. One would not be enough, because two workers
/// may publish at once, and the older message may arrive last.
pub const WITNESSES_KEPT: u32 = 8;

/// What a store has recorded of its ingests and of its broker, for the comparison with the witness
/// messages at the broker. All of it is read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessPosition {
    /// The identity of the store in its present incarnation, which began when the store was created
    /// or when an operator last accepted a restore.
    pub incarnation: Incarnation,
    /// The moment when this incarnation began.
    pub since: Timestamp,
    /// The newest witness that the store has committed.
    pub newest: Option<Witness>,
    /// The sequence number of the newest witness that the broker has confirmed; 0 if none.
    pub confirmed: u64,
    /// The number of receipts that ingests have reported to the store by now.
    pub receipts: u64,
    /// For each of the newest ingest processes, the sequence number up to which it has reported.
    pub ingests: Vec<ReportedUpTo>,
}

/// What a store does after the comparison with the witness messages of its broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextWitness {
    /// Publish nothing: the broker has confirmed a witness with the same content.
    Unchanged,
    /// Publish this witness, which the store has committed.
    Publish(Witness),
    /// Publish nothing, because store and broker contradict each other. The witness messages at the
    /// broker must stay, because they prove the contradiction, and a new message might displace
    /// one.
    Mismatch(Mismatch),
}

/// The way in which a store and its broker contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mismatch {
    /// The broker holds a later witness of this store, so the store was restored to an older state.
    StoreBehind(StoreBehind),
    /// The newest witness at the broker comes from another store.
    OtherStore(OtherStore),
    /// The broker lacks a witness message that it has confirmed, so it was replaced, emptied or
    /// restored to an older state.
    BrokerBehind(BrokerBehind),
}

/// The finding that a store was restored to an older state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreBehind {
    /// Up to this time the store is known to be complete. It is the time of the store's newest
    /// witness, or the start of its incarnation if it has none.
    #[serde(serialize_with = "rfc3339")]
    pub from: Timestamp,
    /// The time of the newest witness message at the broker.
    #[serde(serialize_with = "rfc3339")]
    pub until: Timestamp,
    /// The sequence number of the store's newest witness; 0 if none.
    pub store: u64,
    /// The sequence number of the newest witness at the broker.
    pub broker: u64,
    /// How many receipts were reported to the store between its newest witness and the newest one
    /// at the broker.
    pub receipts: u64,
    /// The sequence numbers that ingests had reported before the restore and that the store does
    /// not know now.
    pub ingests: Vec<UnknownNumbers>,
}

/// A range of sequence numbers that an ingest has reported and that the store does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UnknownNumbers {
    /// The ingest process that reported the numbers.
    pub instance: InstanceId,
    /// The first sequence number of the range.
    pub first: u64,
    /// The last sequence number of the range.
    pub last: u64,
}

/// The finding that another store has used the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherStore {
    /// The identity of this store.
    pub store: Incarnation,
    /// The identity of the store that published the newest witness at the broker.
    pub broker: Incarnation,
    /// Up to this time this store is known to be complete. It is the time of its newest witness, or
    /// the start of its incarnation if it has none.
    #[serde(serialize_with = "rfc3339")]
    pub from: Timestamp,
    /// The time of the newest witness message at the broker.
    #[serde(serialize_with = "rfc3339")]
    pub until: Timestamp,
    /// The sequence number of the newest witness at the broker.
    pub sequence: u64,
}

/// The finding that a broker lacks a witness message that it has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokerBehind {
    /// The sequence number of the newest witness that the broker has confirmed.
    pub confirmed: u64,
    /// The highest sequence number of a witness that the broker holds; `None` if it holds no
    /// witness.
    pub found: Option<u64>,
    /// The time of the newest witness message that the broker still holds, or the start of this
    /// store's incarnation if it holds none.
    #[serde(serialize_with = "rfc3339")]
    pub from: Timestamp,
    /// The time of this store's newest witness.
    #[serde(serialize_with = "rfc3339")]
    pub until: Timestamp,
    /// The routes that had a queue at the broker when the store's newest witness was written.
    pub routes: Vec<RouteName>,
}

/// A mismatch between a store and its broker that an operator has accepted with `reconcile
/// --accept-restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedRestore {
    /// The moment when the operator ran `reconcile --accept-restore`.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// The operator who accepted the mismatch.
    pub by: String,
    /// The reason that the operator gave.
    pub why: String,
    /// How the store and the broker differed, in words, with the time span.
    pub what: String,
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// Returns the witness message with the highest sequence number; `None` if there is none.
pub fn newest_witness(found: &[Witness]) -> Option<&Witness> {
    found.iter().max_by_key(|witness| witness.sequence)
}

impl WitnessPosition {
    /// Compares the store with the witness messages `found` at the broker. Returns their
    /// contradiction, or `None` if there is none. The caller must read `confirmed` from the store
    /// first, then the messages at the broker, and last this `WitnessPosition` from the store. Then
    /// a message that is published and confirmed while the caller reads is no contradiction.
    pub fn compare(&self, confirmed: u64, found: &[Witness]) -> Option<Mismatch> {
        let Some(held) = newest_witness(found) else {
            return (confirmed > 0).then(|| self.broker_behind(confirmed, None));
        };
        if held.store != self.incarnation {
            return Some(Mismatch::OtherStore(OtherStore {
                store: self.incarnation,
                broker: held.store,
                from: self.whole_until(),
                until: held.at,
                sequence: held.sequence,
            }));
        }
        if held.sequence > self.sequence() {
            return Some(Mismatch::StoreBehind(self.behind(held)));
        }
        (held.sequence < confirmed).then(|| self.broker_behind(confirmed, Some(held)))
    }

    /// Returns what this store does when its broker holds the witness messages `found`. A new
    /// witness message must be committed to the store before it is published.
    pub fn take(&self, found: &[Witness], at: Timestamp, routes: &[RouteName]) -> NextWitness {
        match self.compare(self.confirmed, found) {
            Some(mismatch) => NextWitness::Mismatch(mismatch),
            None => self
                .next(at, routes)
                .map_or(NextWitness::Unchanged, NextWitness::Publish),
        }
    }

    /// Returns the first witness message of a new incarnation of the store. The incarnation starts
    /// when an operator accepts the contradiction `accepted` between store and broker. `self` is
    /// the position of the store at this start; `before` is the last position of the previous
    /// incarnation.
    pub fn first_after(
        self,
        before: WitnessPosition,
        accepted: &Mismatch,
        at: Timestamp,
    ) -> Witness {
        Witness {
            store: self.incarnation,
            sequence: before.sequence().max(accepted.highest()) + 1,
            at,
            receipts: self.receipts,
            ingests: self.ingests,
            routes: before.newest.map(|it| it.routes).unwrap_or_default(),
        }
    }

    /// Returns the witness message to be published next, if store and broker do not contradict each
    /// other. If anything has changed since the newest message, the result is a new message.
    /// Otherwise the newest message is returned again until the broker has confirmed it, and then
    /// `None`.
    pub fn next(&self, at: Timestamp, routes: &[RouteName]) -> Option<Witness> {
        let next = Witness {
            store: self.incarnation,
            sequence: self.sequence() + 1,
            at,
            receipts: self.receipts,
            ingests: self.ingests.clone(),
            routes: routes.to_vec(),
        };
        let Some(newest) = &self.newest else {
            return Some(next);
        };
        let says_more = newest.receipts != next.receipts
            || newest.ingests != next.ingests
            || newest.routes != next.routes;
        if says_more {
            return Some(next);
        }
        (newest.sequence > self.confirmed).then(|| newest.clone())
    }

    /// Returns the sequence number of this store's newest witness; 0 if there is none.
    pub fn sequence(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.sequence)
    }

    fn whole_until(&self) -> Timestamp {
        self.newest.as_ref().map_or(self.since, |newest| newest.at)
    }

    fn behind(&self, held: &Witness) -> StoreBehind {
        let known = |one: &ReportedUpTo| {
            let mut known = self.ingests.iter().filter(|it| it.instance == one.instance);
            known.next().map_or(0, |it| it.number)
        };
        let unknown = |one: &ReportedUpTo| UnknownNumbers {
            instance: one.instance,
            first: known(one) + 1,
            last: one.number,
        };
        let before = self.newest.as_ref().map_or(0, |newest| newest.receipts);
        StoreBehind {
            from: self.whole_until(),
            until: held.at,
            store: self.sequence(),
            broker: held.sequence,
            receipts: held.receipts.saturating_sub(before),
            ingests: held
                .ingests
                .iter()
                .map(unknown)
                .filter(|it| it.first <= it.last)
                .collect(),
        }
    }

    fn broker_behind(&self, confirmed: u64, held: Option<&Witness>) -> Mismatch {
        let newest = self.newest.as_ref();
        Mismatch::BrokerBehind(BrokerBehind {
            confirmed,
            found: held.map(|it| it.sequence),
            from: held.map_or(self.since, |it| it.at),
            until: self.whole_until(),
            routes: newest.map(|it| it.routes.clone()).unwrap_or_default(),
        })
    }
}

impl Mismatch {
    /// Describes the contradiction and its time span in one sentence, for logs, the audit log and
    /// operators.
    pub fn describe(&self) -> String {
        match self {
            Mismatch::StoreBehind(it) => format!(
                "the store was restored to an older state: its newest witness is number {} (of \
                 {}), and the broker holds number {} (of {}), which is {} receipts later",
                it.store, it.from, it.broker, it.until, it.receipts
            ),
            Mismatch::OtherStore(it) => format!(
                "the broker was used with another store: this store is {}, its newest witness \
                 is of {}, and the broker holds witness number {} of store {} (of {})",
                it.store, it.from, it.sequence, it.broker, it.until
            ),
            Mismatch::BrokerBehind(it) => {
                let holds = match it.found {
                    Some(found) => format!("holds number {found} (of {})", it.from),
                    None => "holds no witness".to_owned(),
                };
                format!(
                    "the broker was replaced, emptied or restored: it has confirmed witness \
                     number {} (of {}), and {holds}",
                    it.confirmed, it.until
                )
            }
        }
    }

    /// Returns the highest sequence number of a witness message that this mismatch names. A new
    /// witness message gets a number above it, so that it counts as the newest one.
    pub fn highest(&self) -> u64 {
        match self {
            Mismatch::StoreBehind(it) => it.broker,
            Mismatch::OtherStore(it) => it.sequence,
            Mismatch::BrokerBehind(it) => it.confirmed,
        }
    }
}

#[cfg(test)]
mod tests;
