//! The committed rows, and how operations change them.

use std::collections::{BTreeMap, BTreeSet};

use hookbox_driver::{
    ClaimEvidence, ClaimState, Claimed, CountedStart, DeadReason, DeferReason, Deferral,
    DeferralWrite, Deferred, DueRetry, Failure, FailureClass, KeyState, Outcome, Recorded, Start,
    StartCounts, StartKind, TargetName, Then, UndecodableMessage,
};
use hookbox_event::{
    Account, ContentDigest, Envelope, EventId, EventNumber, InstanceId, KeyDigest, ReceiptId, Redo,
    RouteName, Version,
};
use tokio::time::Instant;

use super::lease_rows::LeaseRows;

/// The key of a claim: a route and an event.
pub type On = (RouteName, EventId);

#[derive(Default)]
pub struct Rows {
    pub events: BTreeMap<EventId, Envelope>,
    /// The numbers of all events that were ever claimed.
    numbers: BTreeMap<EventId, EventNumber>,
    pub claims: BTreeMap<On, ClaimState>,
    /// The claims of events that have an end, if the outcome of a receipt was written with it. A
    /// claim that is done but not in this set was committed by its handler.
    pub(super) ended: BTreeSet<On>,
    /// The outcome of each receipt.
    pub receipts: BTreeMap<(RouteName, ReceiptId), &'static str>,
    /// The digests of receipts whose own body is not the stored one.
    pub other_digests: BTreeMap<ReceiptId, ContentDigest>,
    pub retries: BTreeMap<On, Retry>,
    pub dead: BTreeMap<On, (DeadReason, String)>,
    pub failures: Vec<(EventId, u32, FailureClass)>,
    /// The effects of handlers; each entry was written by one committed run.
    pub effects: Vec<EventId>,
    pub starts: BTreeMap<(RouteName, Start), (StartCounts, Option<InstanceId>)>,
    pub accounts: Vec<Account>,
    pub leases: LeaseRows,
    /// What the store keeps for each key, on routes that apply only the newest event of each key.
    pub newest: BTreeMap<(RouteName, KeyDigest), Key>,
}

pub struct Retry {
    pub(super) envelope: Envelope,
    pub attempt: u32,
    pub(super) attempts_before: u32,
    pub(super) due: Instant,
    pub is_queued: bool,
    /// The target of the call for which the event is leased.
    pub(super) leased_for: Option<TargetName>,
    /// Why the retry was deferred, and since when.
    pub deferred: Option<(DeferReason, Instant)>,
    /// The deferral that has expired, if the attempt before counts as failed for that reason alone.
    pub(super) expired: Option<(DeferReason, Instant)>,
}

/// What the store keeps for one key of a route with `newest`.
#[derive(Default)]
pub struct Key {
    pub version: Option<Version>,
    /// The event of the key for which a call is in flight, and when that call's lease ends.
    pub(super) calling: Option<(EventNumber, Instant)>,
}

impl Key {
    pub(super) fn state(&self) -> KeyState {
        let calling = self.calling.filter(|(_, until)| *until > Instant::now());
        KeyState {
            version: self.version.clone(),
            calling: calling.map(|(event, _)| event),
        }
    }
}

impl Rows {
    /// Returns the number of an event. An event without a number gets the next one.
    pub fn number(&mut self, event: EventId) -> EventNumber {
        let next = EventNumber::from_i64(self.numbers.len() as i64 + 1);
        *self.numbers.entry(event).or_insert(next)
    }

    /// Returns the state of a claim. A claim that its handler committed itself counts as `Running`.
    pub(super) fn state(&self, on: &On) -> Option<ClaimState> {
        let evidence = ClaimEvidence {
            state: *self.claims.get(on)?,
            attempts: 1,
            has_end: self.ended.contains(on),
            may_lack_receipts: false,
        };
        Some(evidence.counted().0)
    }

    pub fn claim(&self, on: &On, envelope: &Envelope) -> Claimed {
        let receipt = (on.0.clone(), envelope.receipt);
        let known = self.events.get(&on.1);
        let is_same = known.is_none_or(|known| known.digest == envelope.digest);
        let state = self.state(on);
        match (envelope.redo, state) {
            (Some(redo), Some(ClaimState::Retrying)) => match self.retries.get(on) {
                Some(retry) if retry.attempt == redo.attempt && !retry.is_put_off() => {
                    Claimed::Granted {
                        attempt: retry.attempt,
                        attempts_before: retry.attempts_before,
                    }
                }
                Some(_) | None => Claimed::Redelivered,
            },
            (redo, Some(ClaimState::Running)) if is_same || redo.is_some() => Claimed::Orphaned,
            (Some(_), Some(ClaimState::Done | ClaimState::Dead | ClaimState::Stale)) => {
                Claimed::Redelivered
            }
            (_, None) if is_same => Claimed::Fresh,
            (_, _) if self.receipts.contains_key(&receipt) => Claimed::Redelivered,
            (_, _) if is_same => Claimed::Duplicate,
            (_, _) => Claimed::Conflict,
        }
    }

    pub fn keep_events(&mut self, envelopes: &[Envelope]) {
        for envelope in envelopes {
            let first = || Envelope {
                redo: None,
                ..envelope.clone()
            };
            self.events.entry(envelope.event).or_insert_with(first);
        }
    }

    pub fn settle(&mut self, route: &RouteName, envelope: &Envelope, outcome: &Outcome) {
        let on: On = (route.clone(), envelope.event);
        let (word, state) = match outcome {
            Outcome::Done { .. } => ("done", Some(ClaimState::Done)),
            Outcome::Duplicate => ("duplicate", None),
            Outcome::Stale => ("stale", Some(ClaimState::Stale)),
            Outcome::Conflict { detail } => {
                let dead = (DeadReason::Conflict, detail.clone());
                self.dead.insert(on.clone(), dead);
                ("conflict", Some(ClaimState::Dead))
            }
            Outcome::Dead { reason, detail } => {
                self.dead.insert(on.clone(), (*reason, detail.clone()));
                ("dead", Some(ClaimState::Dead))
            }
        };
        if let Some(state) = state {
            if matches!(outcome, Outcome::Done { .. } | Outcome::Conflict { .. }) {
                self.ended.insert(on.clone());
            }
            self.claims.insert(on.clone(), state);
            self.retries.remove(&on);
        }
        self.receipts.insert((on.0, envelope.receipt), word);
    }

    pub fn fail(&mut self, failure: &Failure<'_>) -> Recorded {
        let on: On = (failure.route.clone(), failure.envelope.event);
        if !self.is_current(&on, failure.envelope, failure.attempt) {
            return Recorded::Superseded;
        }
        self.keep_events(std::slice::from_ref(failure.envelope));
        let receipt = (on.0.clone(), failure.envelope.receipt);
        let before = self.retries.get(&on).and_then(Retry::earlier_deferral);
        self.failures.push((on.1, failure.attempt, failure.class));
        match failure.then {
            Then::Retry { after } => {
                let retry = Retry {
                    envelope: failure.envelope.clone(),
                    attempt: failure.attempt + 1,
                    attempts_before: failure.attempts_before,
                    due: Instant::now() + after,
                    is_queued: false,
                    leased_for: None,
                    deferred: None,
                    expired: before.filter(|_| failure.is_expired_deferral),
                };
                self.claims.insert(on.clone(), ClaimState::Retrying);
                self.receipts.insert(receipt, "retrying");
                self.retries.insert(on, retry);
            }
            Then::Dead { reason } => {
                self.claims.insert(on.clone(), ClaimState::Dead);
                self.receipts.insert(receipt, "dead");
                self.retries.remove(&on);
                self.dead.insert(on, (reason, failure.error.clone()));
            }
        }
        Recorded::Recorded
    }

    pub fn defer(&mut self, deferral: &Deferral<'_>) -> Deferred {
        let on: On = (deferral.route.clone(), deferral.envelope.event);
        if !self.is_current(&on, deferral.envelope, deferral.attempt) {
            return Deferred::Superseded;
        }
        let before = self.retries.get(&on).and_then(Retry::earlier_deferral);
        let aged = before.map(|(reason, since)| (reason, since.elapsed()));
        let Some(written) = deferral.written_after(aged) else {
            return Deferred::Expired;
        };
        self.keep_events(std::slice::from_ref(deferral.envelope));
        let retry = Retry {
            envelope: deferral.envelope.clone(),
            attempt: deferral.attempt,
            attempts_before: deferral.attempts_before,
            due: Instant::now() + written.after,
            is_queued: false,
            leased_for: None,
            deferred: Some(since(before, written)),
            expired: None,
        };
        self.claims.insert(on.clone(), ClaimState::Retrying);
        let receipt = (on.0.clone(), deferral.envelope.receipt);
        self.receipts.insert(receipt, "retrying");
        self.retries.insert(on, retry);
        Deferred::Recorded
    }

    /// Returns whether the event is still in the state in which this attempt claimed it.
    fn is_current(&self, on: &On, envelope: &Envelope, attempt: u32) -> bool {
        match self.state(on) {
            None => {
                let known = self.events.get(&on.1);
                attempt == 1 && known.is_none_or(|known| known.digest == envelope.digest)
            }
            Some(ClaimState::Running) => true,
            Some(ClaimState::Retrying) => {
                let waiting = self.retries.get(on).filter(|retry| !retry.is_leased());
                envelope.redo.is_some() && waiting.map(|retry| retry.attempt) == Some(attempt)
            }
            Some(ClaimState::Done | ClaimState::Dead | ClaimState::Stale) => false,
        }
    }

    pub fn store_undecodable(&mut self, message: &UndecodableMessage<'_>) -> Recorded {
        let on: On = (message.route.clone(), message.event);
        let dead = (message.reason, message.detail.clone());
        self.claims.insert(on.clone(), ClaimState::Dead);
        match self.dead.insert(on, dead) {
            None => Recorded::Recorded,
            Some(_) => Recorded::Superseded,
        }
    }

    /// Starts another round of attempts now, as an operator's replay does.
    pub fn replay(&mut self, on: &On) {
        let failed = self.failures.iter().filter(|it| it.0 == on.1);
        let attempts = failed.map(|it| it.1).max().unwrap_or(0);
        self.dead.remove(on);
        self.claims.insert(on.clone(), ClaimState::Retrying);
        let retry = Retry {
            envelope: self.events[&on.1].clone(),
            attempt: attempts + 1,
            attempts_before: attempts,
            due: Instant::now(),
            is_queued: false,
            leased_for: None,
            deferred: None,
            expired: None,
        };
        self.retries.insert(on.clone(), retry);
    }

    pub fn counts(&self, route: &RouteName, start: &Start) -> StartCounts {
        let counted = self.starts.get(&(route.clone(), *start));
        counted.map_or_else(StartCounts::default, |counted| counted.0)
    }

    pub fn start(&mut self, route: &RouteName, by: InstanceId, kind: StartKind, on: &[Start]) {
        for start in on {
            let (counts, last) = self.starts.entry((route.clone(), *start)).or_default();
            // A process repeats the call for the same start only if it did not receive the first
            // answer, so the repetition is not counted.
            if last.replace(by) == Some(by) {
                continue;
            }
            counts.count(kind);
        }
    }

    pub fn retract_start(
        &mut self,
        route: &RouteName,
        by: InstanceId,
        start: CountedStart,
        of: Start,
    ) {
        let counted = self.starts.get_mut(&(route.clone(), of));
        let is_taken = |last: Option<InstanceId>| start.is_certain || last == Some(by);
        let Some((counts, last)) = counted.filter(|it| is_taken(it.1)) else {
            return;
        };
        counts.retract(start.kind);
        *last = last.filter(|last| *last != by);
    }

    pub fn due(&self, limit: u32, routes: Option<&[RouteName]>) -> Vec<(On, DueRetry)> {
        let is_due = |(on, retry): &(&On, &Retry)| {
            let takes = routes.is_none_or(|routes| routes.contains(&on.0));
            takes && !retry.is_queued && retry.due <= Instant::now()
        };
        let due = self.retries.iter().filter(is_due).take(limit as usize);
        due.map(|(on, retry)| {
            let attempt = retry.attempt;
            let envelope = Envelope {
                redo: Some(Redo { attempt }),
                ..retry.envelope.clone()
            };
            let route = on.0.clone();
            (on.clone(), DueRetry { route, envelope })
        })
        .collect()
    }

    pub fn mark_queued(&mut self, on: &On) {
        if let Some(retry) = self.retries.get_mut(on) {
            retry.is_queued = true;
        }
    }
}

impl Retry {
    /// Returns whether the event has a lease that has not ended.
    pub(super) fn is_leased(&self) -> bool {
        self.leased_for.is_some() && self.due > Instant::now()
    }

    pub(super) fn is_put_off(&self) -> bool {
        let is_kept = self.deferred.is_some() || self.leased_for.is_some();
        is_kept && self.due > Instant::now()
    }

    /// Returns the deferral that continues if the attempt is deferred again.
    pub(super) fn earlier_deferral(&self) -> Option<(DeferReason, Instant)> {
        self.deferred.or(self.expired)
    }
}

/// Returns the reason and the start of a deferral that is written after this earlier one.
pub(super) fn since(
    before: Option<(DeferReason, Instant)>,
    written: DeferralWrite,
) -> (DeferReason, Instant) {
    let kept = before.filter(|_| written.is_continued);
    (
        written.reason,
        kept.map_or_else(Instant::now, |kept| kept.1),
    )
}
