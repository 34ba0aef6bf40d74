//! The state of the simulated store: its committed tables, and the locks of open transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{
    ClaimEvidence, ClaimState, DeadReason, DeferReason, Queue, RouteControls, Start, StartCounts,
    StartKind, TargetName, TargetState,
};
use hookbox_event::{
    ContentDigest, Digester, Envelope, EventId, EventNumber, InstanceId, KeyDigest, ReceiptId,
    RouteName, decode_batch,
};

use crate::accounts::Accounts;
use crate::calls::Calls;
use crate::handler_run::{Effect, HandlerRun};
use crate::newest_versions::NewestVersions;
use crate::on_route::OnRoute;
use crate::queues::Message;
use crate::retry_leases::RetryLeases;
use crate::witness::Witnesses;

#[derive(Clone)]
pub(crate) struct EventKept {
    pub digest: ContentDigest,
    pub body: Bytes,
    pub envelope: Option<Envelope>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub state: ClaimState,
    pub attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredOutcome {
    Done,
    Duplicate,
    Conflict,
    Retrying,
    Dead,
    Stale,
}

#[derive(Clone)]
pub(crate) struct Receipt {
    pub event: EventId,
    pub word: StoredOutcome,
    pub envelope: Envelope,
    /// The digest of the body of this receipt, if that body differs from the stored body of the
    /// event. The two can differ only where the event id alone decides.
    pub other_digest: Option<ContentDigest>,
}

#[derive(Clone)]
pub(crate) struct Retry {
    pub attempt: u32,
    pub before: u32,
    /// When the retry is due, as the time since the beginning of the run.
    pub not_before: Duration,
    pub queued_at: Option<Duration>,
    /// The reason of a deferral, which costs no attempt; `None` for a retry after a failure.
    pub deferred: Option<DeferReason>,
    pub leases: RetryLeases,
}

impl Retry {
    /// Returns whether the event is deferred, and its retry is neither due nor published. Then a
    /// worker must not run the event, even if an older message of it is still in the queue.
    pub fn is_put_off(&self, now: Duration) -> bool {
        self.deferred.is_some() && self.queued_at.is_none() && self.not_before > now
    }
}

#[derive(Clone)]
pub(crate) struct Dead {
    pub reason: DeadReason,
    /// Each time that the dead letter was written: its reason, and the failed attempts until then.
    /// It may be written once in each round; a second time is a violation.
    pub written: Vec<(DeadReason, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Event(EventId),
    Claim(RouteName, EventId),
    Retry(RouteName, EventId),
    Target(TargetName),
    Newest(RouteName, KeyDigest),
}

#[derive(Default)]
pub(crate) struct Tables {
    pub events: BTreeMap<EventId, EventKept>,
    /// The numbers of all events that were ever claimed.
    pub numbers: BTreeMap<EventId, EventNumber>,
    pub claims: BTreeMap<OnRoute, Claim>,
    pub receipts: BTreeMap<(RouteName, ReceiptId), Receipt>,
    pub retries: BTreeMap<OnRoute, Retry>,
    /// The epoch of the last lease of each event that has had a lease.
    pub epochs: BTreeMap<OnRoute, u32>,
    /// For each event, the number of its last attempt that an external call ended as done.
    pub last_done: BTreeMap<OnRoute, u32>,
    pub targets: BTreeMap<TargetName, TargetState>,
    pub newest: NewestVersions,
    pub dead: BTreeMap<OnRoute, Dead>,
    /// Failed attempts, each with the class of its failure.
    pub failures: BTreeMap<(RouteName, EventId, u32), &'static str>,
    /// The start markers that have not been cleared. Each counts how often the handler of a
    /// redelivered receipt was started. The `InstanceId` is the process that counted last.
    pub starts: BTreeMap<(RouteName, Start), (StartCounts, Option<InstanceId>)>,
    /// For each start marker, the processes that have counted a start since it was last cleared,
    /// each with the kind of the start.
    pub starters: BTreeMap<(RouteName, Start), Vec<(String, StartKind)>>,
    /// Starts that the store may have counted although the process got an error.
    pub unheard: BTreeSet<(RouteName, Start, String)>,
    /// Events that were quarantined after enough processes died while they ran only this event.
    pub convicted: BTreeSet<OnRoute>,
    /// Processes that were killed, at random or by a handler. A process that could not clear its
    /// start markers when it ended is here too.
    pub deaths: BTreeSet<String>,
    pub effects: Vec<Effect>,
    /// The external calls.
    pub calls: Calls,
    /// How often an operator has replayed each dead letter.
    pub replays: BTreeMap<OnRoute, u32>,
    /// The claims whose handler has committed the transaction by itself. Their effects may be
    /// committed.
    pub orphans: BTreeSet<OnRoute>,
    /// The handler runs that rolled back their own transaction.
    pub rolled_back: Vec<HandlerRun>,
    /// The accept reports of the ingests.
    pub accounts: Accounts,
    /// The witness messages, which show whether a store or broker was restored.
    pub witnesses: Witnesses,
    /// The pauses and limits that operators have set for routes.
    pub controls: RouteControls,
    pub away: bool,
    locks: BTreeMap<Key, u64>,
    /// The open transactions by number, each with the number of its process.
    open: BTreeMap<u64, u64>,
    transactions: u64,
}

impl Tables {
    /// Returns the number of an event. An event without a number gets the next one.
    pub fn number(&mut self, event: EventId) -> EventNumber {
        let next = EventNumber::from_i64(self.numbers.len() as i64 + 1);
        *self.numbers.entry(event).or_insert(next)
    }

    pub fn begin(&mut self, process: u64) -> u64 {
        self.transactions += 1;
        self.open.insert(self.transactions, process);
        self.transactions
    }

    pub fn is_open(&self, tx: u64) -> bool {
        self.open.contains_key(&tx)
    }

    pub fn open_by(&self, process: u64) -> Vec<u64> {
        let of_process = |(tx, by): (&u64, &u64)| (*by == process).then_some(*tx);
        self.open.iter().filter_map(of_process).collect()
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Ends a transaction, and releases its locks.
    pub fn close(&mut self, tx: u64) {
        self.open.remove(&tx);
        self.locks.retain(|_, holder| *holder != tx);
    }

    /// Ends every open transaction without a commit, as a restart of the store does.
    pub fn close_all(&mut self) {
        self.open.clear();
        self.locks.clear();
    }

    pub fn is_locked_by_another(&self, key: &Key, tx: u64) -> bool {
        self.locks.get(key).is_some_and(|holder| *holder != tx)
    }

    pub fn lock(&mut self, key: Key, tx: u64) {
        self.locks.insert(key, tx);
    }

    pub fn keep_event(&mut self, envelope: &Envelope) {
        let mut plain = envelope.clone();
        plain.redo = None;
        self.events.entry(envelope.event).or_insert(EventKept {
            digest: envelope.digest,
            body: envelope.body.clone(),
            envelope: Some(plain),
        });
    }

    /// Returns the claim of an event in its effective state. The stored claim does not show whether
    /// the worker or a handler has committed it. So this also reads the outcomes of the receipts.
    pub fn claim(&self, on: &OnRoute) -> Option<Claim> {
        let stored = self.claims.get(on)?;
        let has_end = self.receipts.iter().any(|((of, _), receipt)| {
            let ends = matches!(receipt.word, StoredOutcome::Done | StoredOutcome::Conflict);
            ends && *of == on.0 && receipt.event == on.1
        });
        let evidence = ClaimEvidence {
            state: stored.state,
            attempts: stored.attempts,
            has_end,
            may_lack_receipts: false,
        };
        let (state, attempts) = evidence.counted();
        Some(Claim { state, attempts })
    }

    /// Writes the outcome of a receipt, unless the receipt has an outcome already.
    pub fn put_receipt(
        &mut self,
        route: &RouteName,
        envelope: &Envelope,
        word: StoredOutcome,
        other_digest: Option<ContentDigest>,
    ) {
        let mut plain = envelope.clone();
        plain.redo = None;
        let key = (route.clone(), envelope.receipt);
        self.receipts.entry(key).or_insert(Receipt {
            event: envelope.event,
            word,
            envelope: plain,
            other_digest,
        });
    }

    /// Returns each receipt with its sequence number, and the instance that gave it out.
    pub fn numbers(&self) -> impl Iterator<Item = (ReceiptId, InstanceId, u64)> {
        let receipts = self.receipts.iter();
        receipts.map(|((_, receipt), it)| (*receipt, it.envelope.instance, it.envelope.number))
    }

    /// Gives the receipts of an event a new outcome. Only the outcomes `Retrying` and `Dead` follow
    /// the state of the event, so only receipts with one of these are changed.
    pub fn update_outcome(&mut self, route: &RouteName, event: &EventId, word: StoredOutcome) {
        for ((of, _), receipt) in &mut self.receipts {
            let moves = matches!(receipt.word, StoredOutcome::Retrying | StoredOutcome::Dead);
            if of == route && receipt.event == *event && moves {
                receipt.word = word;
            }
        }
    }

    pub fn put_dead(&mut self, on: &OnRoute, reason: DeadReason, attempts: u32) {
        let written = Vec::new();
        let dead = self.dead.entry(on.clone());
        let dead = dead.or_insert(Dead { reason, written });
        dead.reason = reason;
        dead.written.push((reason, attempts));
    }

    /// Replays a dead letter as an operator does. The event is due at once, and gets a further
    /// round of attempts.
    pub fn replay(&mut self, on: &OnRoute, now: Duration) {
        let Some(claim) = self.claims.get_mut(on) else {
            return;
        };
        claim.state = ClaimState::Retrying;
        let retry = Retry {
            attempt: claim.attempts + 1,
            before: claim.attempts,
            not_before: now,
            queued_at: None,
            deferred: None,
            leases: RetryLeases::default(),
        };
        self.retries.insert(on.clone(), retry);
        *self.replays.entry(on.clone()).or_default() += 1;
        for ((of, _), receipt) in &mut self.receipts {
            if *of == on.0 && receipt.event == on.1 && receipt.word == StoredOutcome::Dead {
                receipt.word = StoredOutcome::Retrying;
            }
        }
    }

    /// Returns the dead letters that can be replayed safely. Undecodable bytes cannot be replayed,
    /// and an orphaned event may already have its effect.
    pub fn replayable(&self) -> Vec<OnRoute> {
        let is_dead = |on: &OnRoute| {
            let free = !self.locks.contains_key(&Key::Claim(on.0.clone(), on.1));
            let state = self.claims.get(on).map(|it| it.state);
            free && state == Some(ClaimState::Dead) && !self.orphans.contains(on)
        };
        let dead = self.dead.iter();
        let dead = dead.filter(|(_, it)| it.reason != DeadReason::Undecodable);
        dead.map(|(on, _)| on.clone()).filter(is_dead).collect()
    }

    /// Commits a transaction because its handler has committed it. The claims are stored as they
    /// were written: as done for a first attempt, as running for a retry. No outcome is stored with
    /// them.
    pub fn commit_early(&mut self, tx: u64, claimed: Vec<OnRoute>, effects: Vec<Effect>) {
        for on in claimed {
            let claim = match self.claims.get(&on) {
                None => Claim {
                    state: ClaimState::Done,
                    attempts: 1,
                },
                Some(retried) => Claim {
                    state: ClaimState::Running,
                    attempts: retried.attempts,
                },
            };
            self.claims.insert(on.clone(), claim);
            self.orphans.insert(on);
        }
        self.effects.extend(effects);
        self.close(tx);
    }

    pub fn due(&self, now: Duration, limit: usize) -> Vec<OnRoute> {
        let hour = Duration::from_secs(3_600);
        let is_due = |retry: &Retry| {
            let unheard = |at: Duration| now.saturating_sub(at) > hour;
            retry.not_before <= now && retry.queued_at.is_none_or(unheard)
        };
        let free = |on: &OnRoute| !self.locks.contains_key(&Key::Retry(on.0.clone(), on.1));
        let due = self
            .retries
            .iter()
            .filter(|(on, it)| is_due(it) && free(on));
        due.map(|(on, _)| on.clone()).take(limit).collect()
    }

    /// Looks for an envelope of this message without a committed outcome. Returns a text that names
    /// the first one, or `None` if all envelopes have an outcome.
    pub fn wanting(&self, queue: &Queue, message: &Message) -> Option<String> {
        let route = route_of(queue, message)?;
        let undecodable = |bytes: &[u8]| {
            let event = EventId::of_undecodable(&Digester::Plain, bytes);
            let known = self.dead.contains_key(&(route.clone(), event));
            (!known).then(|| "undecodable bytes are missing among the dead letters".to_owned())
        };
        let Ok(frames) = decode_batch(&message.bytes) else {
            return undecodable(&message.bytes);
        };
        frames.iter().find_map(|frame| match frame {
            Ok(envelope) => self.wants(&route, envelope),
            Err(bad) => undecodable(&bad.bytes),
        })
    }

    fn wants(&self, route: &RouteName, envelope: &Envelope) -> Option<String> {
        let receipt = envelope.receipt;
        if !self.receipts.contains_key(&(route.clone(), receipt)) {
            return Some(format!("receipt {receipt} has no outcome"));
        }
        let redo = envelope.redo?;
        if self.replays.contains_key(&(route.clone(), envelope.event)) {
            // After a replay, the stored retry may belong to a later round and have the attempt
            // number of this message by chance. So it does not show whether this message has its
            // outcome.
            return None;
        }
        let retry = self.retries.get(&(route.clone(), envelope.event))?;
        // A stored retry with this attempt number shows that the attempt has no outcome yet. The
        // exception is a deferral: the attempt itself may have written it, with its own number.
        let same = retry.attempt == redo.attempt && retry.deferred.is_none();
        same.then(|| format!("attempt {} has no outcome yet", redo.attempt))
    }

    /// Returns the events that have more than one effect on a route, which is a violation.
    pub fn doubled(&self) -> BTreeSet<OnRoute> {
        let mut once = BTreeSet::new();
        let on = |it: &Effect| (it.route.clone(), it.event);
        let again = self.effects.iter().map(on);
        again.filter(|on| !once.insert(on.clone())).collect()
    }
}

/// Returns the route for which a message was published.
pub(crate) fn route_of(queue: &Queue, message: &Message) -> Option<RouteName> {
    match queue {
        Queue::Route(route) => Some(route.clone()),
        Queue::Accounts | Queue::Witness => None,
        Queue::Dead => {
            let died_in = message.died_in.as_deref()?;
            died_in.rsplit_once("route.")?.1.parse().ok()
        }
    }
}
