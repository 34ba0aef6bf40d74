//! The comparison of a store with the witnesses that its broker holds (docs/ACCOUNTING.md).
//!
//! Both sides remember the other: the store the newest witness that its broker has confirmed, the
//! broker the newest witnesses of its store. There is no identity of the broker besides: a broker
//! is known by the witnesses that it holds, and one without them is another one, or was emptied.

use hookbox_event::{Incarnation, InstanceId, ReportedUpTo, RouteName, Timestamp, Witness};
use serde::{Serialize, Serializer};

/// How many ingests a witness names, the newest ones. It bounds a message to a few KiB.
pub const WITNESS_INGESTS_MAX: u32 = 32;

/// How many witnesses a broker keeps: two workers may publish at once, in either order.
pub const WITNESSES_KEPT: u32 = 8;

/// What a store knows of itself and of its newest witness, from one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessPosition {
    /// Which store, and which of its lives.
    pub incarnation: Incarnation,
    /// When this life began.
    pub since: Timestamp,
    /// The newest witness that it has committed.
    pub newest: Option<Witness>,
    /// The sequence number of the newest witness that the broker has confirmed; 0 if none.
    pub confirmed: u64,
    /// Receipts that ingests have reported by now.
    pub receipts: u64,
    /// How far the newest ingests have reported by now.
    pub ingests: Vec<ReportedUpTo>,
}

/// What to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextWitness {
    /// Nothing: the broker has confirmed a witness with the same content.
    Unchanged,
    /// This witness. It is committed.
    Publish(Witness),
    /// Nothing: store and broker contradict each other, and what the broker holds must stay.
    Mismatch(Mismatch),
}

/// How a store and its broker contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mismatch {
    /// The broker holds a later witness of this store: the store was restored to an older state.
    StoreBehind(StoreBehind),
    /// The newest witness that the broker holds is of another store.
    OtherStore(OtherStore),
    /// The broker does not hold what it has confirmed: it was replaced, emptied or restored.
    BrokerBehind(BrokerBehind),
}

/// A store that was restored to an older state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreBehind {
    /// Up to when the store is known to be whole: its newest witness, or the beginning of its life.
    #[serde(serialize_with = "rfc3339")]
    pub from: Timestamp,
    /// The moment of the newest witness that the broker holds.
    #[serde(serialize_with = "rfc3339")]
    pub until: Timestamp,
    /// The sequence number of the store's newest witness; 0 if none.
    pub store: u64,
    /// The sequence number of the newest witness that the broker holds.
    pub broker: u64,
    /// Receipts that were reported between the two.
    pub receipts: u64,
    /// Numbers that ingests had reported, and that the store does not know now.
    pub ingests: Vec<UnknownNumbers>,
}

/// Numbers that an ingest has reported and that the store does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UnknownNumbers {
    /// The ingest process.
    pub instance: InstanceId,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

/// A broker that was used with another store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherStore {
    /// This store.
    pub store: Incarnation,
    /// The store of the newest witness that the broker holds.
    pub broker: Incarnation,
    /// Up to when this store is known to be whole: its newest witness, or the beginning of it.
    #[serde(serialize_with = "rfc3339")]
    pub from: Timestamp,
    /// The moment of the newest witness that the broker holds.
    #[serde(serialize_with = "rfc3339")]
    pub until: Timestamp,
    /// The sequence number of that witness.
    pub sequence: u64,
}

/// A broker that does not hold what it has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokerBehind {
    /// The sequence number that it has confirmed.
    pub confirmed: u64,
    /// The highest that it holds; none if it holds none.
    pub found: Option<u64>,
    /// The moment of the newest witness that it holds, or of the beginning of this store's life.
    #[serde(serialize_with = "rfc3339")]
    pub from: Timestamp,
    /// The moment of this store's newest witness.
    #[serde(serialize_with = "rfc3339")]
    pub until: Timestamp,
    /// Whose queues it must have.
    pub routes: Vec<RouteName>,
}

/// What a person has accepted: that a store and its broker contradicted each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedRestore {
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// The contradiction, with its span.
    pub what: String,
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// The newest of the witnesses that a broker holds, whatever their order.
pub fn newest_witness(found: &[Witness]) -> Option<&Witness> {
    found.iter().max_by_key(|witness| witness.sequence)
}

impl WitnessPosition {
    /// Compares with what the broker holds. This position must have been read after that, and
    /// `confirmed` (of this store) before: what is published and confirmed meanwhile contradicts
    /// nothing.
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

    /// What a store publishes now that its broker holds these. A witness that is newer than this
    /// position's has to be committed first.
    pub fn take(&self, found: &[Witness], at: Timestamp, routes: &[RouteName]) -> NextWitness {
        match self.compare(self.confirmed, found) {
            Some(mismatch) => NextWitness::Mismatch(mismatch),
            None => self
                .next(at, routes)
                .map_or(NextWitness::Unchanged, NextWitness::Publish),
        }
    }

    /// The first witness of a life that begins at this position, because a person has accepted how
    /// the life before and its broker contradicted each other.
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

    /// What to publish next, where nothing contradicts: a new witness when something has been
    /// reported since the newest one, and else that one again until it is confirmed.
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

    /// The sequence number of the newest witness; 0 if none.
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
    /// In one sentence, with the span: for logs, the audit and people.
    pub fn describe(&self) -> String {
        match self {
            Mismatch::StoreBehind(it) => format!(
                "the store was restored to an older state: its newest witness is number {} of \
                 {}, and the broker holds number {} of {}, {} receipts later",
                it.store, it.from, it.broker, it.until, it.receipts
            ),
            Mismatch::OtherStore(it) => format!(
                "the broker was used with another store: this store is {}, its newest witness \
                 is of {}, and the broker holds number {} of store {}, of {}",
                it.store, it.from, it.sequence, it.broker, it.until
            ),
            Mismatch::BrokerBehind(it) => {
                let holds = match it.found {
                    Some(found) => format!("holds number {found} of {}", it.from),
                    None => "holds none".to_owned(),
                };
                format!(
                    "the broker was replaced, emptied or restored: it has confirmed witness \
                     number {} of {}, and {holds}",
                    it.confirmed, it.until
                )
            }
        }
    }

    /// The sequence number above which a fresh witness is the newest.
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
