//! One transaction over envelopes of distinct events: claim → check → lease → settle → commit.

use std::collections::HashMap;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{
    CommitError, DeadReason, Fault, FaultKind, LeaseWish, Leased, NoPermit, Outcome,
    ReceiptOutcome, Store, VersionStanding, VersionedEvent, newest_of_each_key,
};
use hookbox_event::{Envelope, EventId, KeyDigest};
use tokio::time::Instant;

use super::flight::LeasedCall;
use super::registered::{PreparedCall, ReadiedCall};
use super::route::EffectRoute;
use crate::Event;
use crate::attempt_error::FailedAttempt;
use crate::claimed_event::{ClaimSet, ClaimedEvent};
use crate::claims::claim;
use crate::counters::add;
use crate::handler_failure::HandlerFailure;
use crate::outcomes;
use crate::route_context::RouteContext;
use crate::stale_events;
use crate::verdict::{Verdict, verdict};

/// One transaction over envelopes of distinct events.
pub(crate) struct LeaseTransaction<'a, S: Store> {
    pub context: &'a RouteContext<'a, S>,
    pub route: &'a EffectRoute<S>,
    /// Whether events may be leased. If not, the events that would be leased are in
    /// [`Committed::refused`].
    pub may_lease: bool,
}

/// What remains to be done after a transaction. Every envelope that is not listed here has its
/// outcome.
#[derive(Default)]
pub(crate) struct Committed {
    /// The events that are leased: their calls are to be made.
    pub leased: Vec<LeasedCall>,
    /// The events that may not be leased now, because of their target.
    pub refused: Vec<ClaimedEvent>,
    /// Why the store has refused leases for the events in `refused`.
    pub why: Option<NoPermit>,
    /// The events that may not be leased now, because another call for their key is in flight or
    /// is to be made first.
    pub busy: Vec<ClaimedEvent>,
    /// The events for which no call can be made. Their failures are to be recorded.
    pub failed: Vec<FailedAttempt>,
}

/// The claims of the transaction, sorted by what is done with each.
#[derive(Default)]
struct Sorted {
    committed: Committed,
    ended: Vec<(ClaimedEvent, Outcome)>,
    withdrawn: Vec<EventId>,
}

/// A claimed event whose call is ready to be made.
struct Ready {
    event: ClaimedEvent,
    call: Box<dyn PreparedCall>,
    /// The key and the version of the event, on a route that applies only the newest event of each
    /// key.
    version: Option<VersionedEvent>,
}

impl<S: Store> LeaseTransaction<'_, S> {
    /// Runs the transaction to its commit. After a fault the transaction has no effect, or it is
    /// not known whether it was committed. If it was committed, its leases end by themselves, and
    /// the store recognises its envelopes as redelivered when the transaction runs again.
    pub async fn run(&self, envelopes: &[&Envelope]) -> Result<Committed, Fault> {
        let store = self.context.store();
        let mut tx = store.begin().await?;
        let mut claims = ClaimSet::default();
        let sorted = match self.work_on(&mut tx, envelopes, &mut claims).await {
            Ok(sorted) => sorted,
            Err(error) => {
                store.rollback(tx).await;
                return Err(fault_of(error));
            }
        };
        let settled = settled(&sorted.ended, &claims);
        if settled.is_empty() && sorted.committed.leased.is_empty() {
            store.rollback(tx).await;
            add(&self.context.counters.redelivered, claims.redelivered);
            return Ok(sorted.committed);
        }
        let written = match self.settle(&mut tx, &sorted.withdrawn, &settled).await {
            Ok(()) => store.commit(tx).await,
            Err(error) => {
                store.rollback(tx).await;
                Err(error)
            }
        };
        written.map_err(fault_of)?;
        crash_point!("effect.after_lease");
        outcomes::count(self.context, &settled, claims.redelivered);
        let leased = sorted.committed.leased.len();
        add(&self.context.counters.leased, leased as u64);
        Ok(sorted.committed)
    }

    async fn work_on(
        &self,
        tx: &mut S::Tx,
        envelopes: &[&Envelope],
        claims: &mut ClaimSet,
    ) -> Result<Sorted, CommitError> {
        for claim in claim(self.context, tx, envelopes).await? {
            claims.add(claim);
        }
        let mut sorted = Sorted::default();
        let mut ready = Vec::with_capacity(claims.events.len());
        for event in claims.events.drain(..) {
            ready.extend(self.prepare(tx, event, &mut sorted)?);
        }
        if self.may_lease {
            ready = self.compare(tx, ready, &mut sorted).await?;
        }
        if !ready.is_empty() {
            self.lease(tx, ready, &mut sorted).await?;
        }
        Ok(sorted)
    }

    /// Prepares the call for an event; `None` if no call is made for it.
    fn prepare(
        &self,
        tx: &S::Tx,
        event: ClaimedEvent,
        sorted: &mut Sorted,
    ) -> Result<Option<Ready>, Fault> {
        let failed = |event, failure| FailedAttempt {
            event,
            failure,
            took: Duration::ZERO,
        };
        if event.is_orphaned {
            // An external call cannot orphan an event. So the route had a handler at that time, and
            // the handler ended its own transaction.
            sorted
                .committed
                .failed
                .push(failed(event, HandlerFailure::orphaned()));
            return Ok(None);
        }
        let (effect, config) = (&self.route.effect, &self.context.inner.config);
        let newest = self.context.newest(self.route.config());
        let (read, version) = match verdict(config, &event, effect.builds_payload(), newest) {
            Verdict::Runs { read, version } => (read, version),
            Verdict::Ends(outcome) => {
                sorted.ended.push((event, outcome));
                return Ok(None);
            }
        };
        let number = self.context.number(tx, &event.envelope.event)?;
        let attempt = (event.attempt, event.round());
        let ReadiedCall(readied) =
            effect.prepare(Event::of(&event.envelope, number, attempt, read));
        match readied {
            Ok(call) => Ok(Some(Ready {
                event,
                call,
                version,
            })),
            Err(why) => {
                sorted.withdrawn.push(event.envelope.event);
                let failure = HandlerFailure::of_payload(self.context.store(), &why);
                sorted.committed.failed.push(failed(event, failure));
                Ok(None)
            }
        }
    }

    /// Ends events that are stale. Withdraws the claims of events that must wait because another
    /// call for their key is in flight or comes first: only one call for each key is in flight at a
    /// time. Returns the events whose calls can be made.
    async fn compare(
        &self,
        tx: &mut S::Tx,
        ready: Vec<Ready>,
        sorted: &mut Sorted,
    ) -> Result<Vec<Ready>, Fault> {
        let versioned = ready.iter().filter_map(|one| one.version.clone());
        let versioned: Vec<VersionedEvent> = versioned.collect();
        if versioned.is_empty() {
            return Ok(ready);
        }
        let standings = stale_events::compare(self.context, tx, &versioned).await?;
        let stands = |event: &EventId| {
            let mut compared = versioned.iter().zip(&standings);
            let found = compared.find(|(one, _)| one.event == *event);
            found.map(|(_, standing)| *standing)
        };
        let is_current = |one: &&VersionedEvent| match stands(&one.event) {
            Some(VersionStanding::Current) => true,
            Some(VersionStanding::Stale | VersionStanding::Busy) | None => false,
        };
        let newest = newest_of_each_key(versioned.iter().filter(is_current)).into_iter();
        let chosen: HashMap<KeyDigest, EventId> = newest.map(|it| (it.key, it.event)).collect();
        let mut called = Vec::with_capacity(ready.len());
        for one in ready {
            let Some(version) = &one.version else {
                called.push(one);
                continue;
            };
            let is_chosen = chosen.get(&version.key) == Some(&version.event);
            match stands(&version.event) {
                Some(VersionStanding::Stale) => sorted.ended.push((one.event, Outcome::Stale)),
                Some(VersionStanding::Current) if is_chosen => called.push(one),
                Some(VersionStanding::Current | VersionStanding::Busy) | None => {
                    sorted.withdrawn.push(one.event.envelope.event);
                    sorted.committed.busy.push(one.event);
                }
            }
        }
        Ok(called)
    }

    async fn lease(
        &self,
        tx: &mut S::Tx,
        ready: Vec<Ready>,
        sorted: &mut Sorted,
    ) -> Result<(), CommitError> {
        if !self.may_lease {
            for Ready { event, .. } in ready {
                sorted.refuse(event);
            }
            return Ok(());
        }
        let wishes: Vec<LeaseWish<'_>> = ready.iter().map(|it| wish(&it.event)).collect();
        let store = self.context.store();
        let (route, terms) = (self.context.route, self.route.terms());
        let requested = Instant::now();
        let leased = store.lease(tx, route, terms, &wishes).await?;
        for (one, leased) in ready.into_iter().zip(leased) {
            let Ready {
                event,
                call,
                version,
            } = one;
            match leased {
                Leased::Granted { epoch, effect } => {
                    let number = self.context.number(tx, &event.envelope.event)?;
                    sorted.committed.leased.push(LeasedCall {
                        event,
                        number,
                        epoch,
                        effect,
                        call,
                        version,
                        requested,
                    });
                }
                Leased::Lost { leases } => {
                    let outcome = Outcome::Dead {
                        reason: DeadReason::Lost,
                        detail: lost(leases),
                    };
                    sorted.ended.push((event, outcome));
                }
                Leased::Refused(why) => {
                    sorted.committed.why.get_or_insert(why);
                    sorted.refuse(event);
                }
            }
        }
        Ok(())
    }

    async fn settle(
        &self,
        tx: &mut S::Tx,
        withdrawn: &[EventId],
        settled: &[ReceiptOutcome<'_>],
    ) -> Result<(), CommitError> {
        let (store, route) = (self.context.store(), self.context.route);
        if !withdrawn.is_empty() {
            store.withdraw(tx, route, withdrawn).await?;
        }
        if !settled.is_empty() {
            store.settle(tx, route, settled).await?;
        }
        Ok(())
    }
}

impl Sorted {
    /// Withdraws the claim of an event that may not be leased now because of its target.
    fn refuse(&mut self, event: ClaimedEvent) {
        self.withdrawn.push(event.envelope.event);
        self.committed.refused.push(event);
    }
}

/// Returns the outcomes of receipts that the transaction writes.
fn settled<'a>(
    ended: &'a [(ClaimedEvent, Outcome)],
    claims: &'a ClaimSet,
) -> Vec<ReceiptOutcome<'a>> {
    let ended = ended.iter().map(|(event, outcome)| ReceiptOutcome {
        envelope: &event.envelope,
        outcome: outcome.clone(),
        other_digest: event.other_digest,
    });
    let duplicates = claims.duplicates.iter();
    let duplicates = duplicates.map(|(envelope, other_digest)| ReceiptOutcome {
        envelope,
        outcome: Outcome::Duplicate,
        other_digest: *other_digest,
    });
    ended.chain(duplicates).collect()
}

fn wish(event: &ClaimedEvent) -> LeaseWish<'_> {
    LeaseWish {
        envelope: &event.envelope,
        attempt: event.attempt,
        attempts_before: event.attempts_before,
        other_digest: event.other_digest,
    }
}

fn lost(leases: u32) -> String {
    format!(
        "{leases} calls in a row were begun, and none of them recorded its outcome; whether any of \
         them had its effect is not known"
    )
}

/// Converts an error of a transaction in which no handler runs into a fault.
fn fault_of(error: CommitError) -> Fault {
    match error {
        CommitError::Fault(fault) => fault,
        CommitError::BrokenByHandler { why } | CommitError::EndedByHandler { why } => Fault::new(
            FaultKind::Internal,
            "lease events in a transaction without a handler",
            why,
        ),
    }
}
