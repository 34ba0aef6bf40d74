//! One transaction over envelopes of distinct events: claim → check → handle → settle → commit.
//!
//! The functions stand in the order of "The path of one event" in docs/ARCHITECTURE.md. Everything
//! that can go wrong ends in an [`AttemptError`], which says what happened; `settle` decides what
//! follows.

use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{CommitError, Fault, Outcome, ReceiptOutcome, Store};
use hookbox_event::{Envelope, EventId, EventNumber};

use crate::Event;
use crate::attempt_error::AttemptError;
use crate::attribute::{attribute, is_done};
use crate::batch::Batch;
use crate::claimed_event::{ClaimSet, ClaimedEvent};
use crate::claims::claim;
use crate::counters::add;
use crate::left::LeftEvents;
use crate::outcomes;
use crate::registered::HandlerFailure;
use crate::route_context::RouteContext;
use crate::settle::FailureCause;
use crate::stale_events;
use crate::verdict::{Verdict, verdict};
use crate::work::Work;

/// One transaction over envelopes of distinct events.
pub(crate) struct Attempt<'a, S: Store> {
    pub context: &'a RouteContext<'a, S>,
    pub work: Work<'a, S>,
}

impl<S: Store> Attempt<'_, S> {
    /// Runs the transaction up to its commit. Returns the events that have left the transaction,
    /// for example because the handler failed on them. If the transaction cannot be committed,
    /// returns the reason, and the transaction has no effect. Adds to `failed_runs` how many runs
    /// of the handler failed and were undone, after which the transaction continued with other
    /// events.
    pub async fn run(
        &self,
        envelopes: &[&Envelope],
        failed_runs: &mut usize,
    ) -> Result<LeftEvents, AttemptError> {
        let store = self.context.store();
        let mut tx = match self.work {
            Work::Handle { handler, .. } if !handler.is_trusted() => {
                store.begin_for_handler().await?
            }
            Work::Handle { .. } | Work::GiveUp { .. } => store.begin().await?,
        };
        let claims = match self.claim(&mut tx, envelopes).await {
            Ok(claims) => claims,
            Err(fault) => {
                store.rollback(tx).await;
                return Err(fault.into());
            }
        };
        if claims.events.is_empty() && claims.duplicates.is_empty() {
            store.rollback(tx).await;
            add(&self.context.counters.redelivered, claims.redelivered);
            return Ok(LeftEvents::default());
        }
        crash_point!("worker.after_claim");
        match self.work_on(&mut tx, &claims.events, failed_runs).await {
            Ok((outcomes, left)) => self.finish(tx, &claims, outcomes, left).await,
            Err(error) => {
                if error.is_interrupted() {
                    // The handler was stopped in the middle of a statement, so the connection can
                    // only be closed.
                    drop(tx);
                } else if error.is_returned() {
                    store.rollback_failed(tx).await;
                } else {
                    store.rollback(tx).await;
                }
                Err(error)
            }
        }
    }

    /// Runs the transaction of a single event.
    pub async fn run_one(&self, envelope: &Envelope) -> Result<(), AttemptError> {
        self.run(&[envelope], &mut 0).await.map(drop)
    }

    async fn claim(&self, tx: &mut S::Tx, envelopes: &[&Envelope]) -> Result<ClaimSet, Fault> {
        let mut claims = ClaimSet::default();
        for claim in claim(self.context, tx, envelopes).await? {
            claims.add(claim);
        }
        Ok(claims)
    }

    /// Runs the handler on those events that must be handled. Returns the outcome of each event,
    /// and the events that have left the transaction. The caller ignores the outcomes of the
    /// latter.
    async fn work_on(
        &self,
        tx: &mut S::Tx,
        events: &[ClaimedEvent],
        failed_runs: &mut usize,
    ) -> Result<(Vec<Outcome>, LeftEvents), AttemptError> {
        let mut verdicts = Vec::with_capacity(events.len());
        for event in events {
            verdicts.push(self.classify(event)?);
        }
        let superseded = stale_events::end_stale(self.context, tx, &mut verdicts).await?;
        let mut outcomes = Vec::with_capacity(events.len());
        let mut handled = Vec::with_capacity(events.len());
        for (event, verdict) in events.iter().zip(verdicts) {
            match verdict {
                Verdict::Ends(outcome) => outcomes.push(outcome),
                Verdict::Runs { read, .. } => {
                    let number = self.context.number(tx, &event.envelope.event)?;
                    let attempt = (event.attempt, event.round());
                    let given = event_of(&event.envelope, number, attempt, read);
                    handled.push((event, given));
                    outcomes.push(Outcome::Done {
                        attempt: event.attempt,
                    });
                }
            }
        }
        if let Work::Handle { route, handler } = self.work
            && !handled.is_empty()
        {
            let batch = Batch::new(self.context, route, handler, handled)?;
            let mut left = batch.run(tx, failed_runs).await?;
            superseded.leave(events, &mut left);
            return Ok((outcomes, left));
        }
        Ok((outcomes, LeftEvents::default()))
    }

    /// Decides whether the handler runs on an event. It does not run on an event that is orphaned
    /// or given up, or to which [`verdict`] gives an outcome.
    fn classify(&self, event: &ClaimedEvent) -> Result<Verdict, AttemptError> {
        if event.is_orphaned {
            return Err(AttemptError::handler(event, orphaned(), Duration::ZERO));
        }
        Ok(match self.work {
            Work::Handle { route, handler } => {
                let config = &self.context.inner.config;
                verdict(
                    config,
                    event,
                    handler.builds_payload(),
                    self.context.newest(route),
                )
            }
            Work::GiveUp { reason, detail } => Verdict::Ends(Outcome::Dead {
                reason,
                detail: detail.to_owned(),
            }),
        })
    }

    /// Withdraws the claims of the events that have left the transaction, writes the outcome of
    /// every other receipt, and commits.
    async fn finish(
        &self,
        mut tx: S::Tx,
        claims: &ClaimSet,
        outcomes: Vec<Outcome>,
        left: LeftEvents,
    ) -> Result<LeftEvents, AttemptError> {
        let store = self.context.store();
        let withdrawn = left.ids();
        let mut settled: Vec<ReceiptOutcome<'_>> = claims
            .events
            .iter()
            .zip(outcomes)
            .filter(|(event, _)| !withdrawn.contains(&event.envelope.event))
            .map(|(event, outcome)| ReceiptOutcome {
                envelope: &event.envelope,
                outcome,
                other_digest: event.other_digest,
            })
            .collect();
        for (envelope, other_digest) in &claims.duplicates {
            settled.push(ReceiptOutcome {
                envelope,
                outcome: Outcome::Duplicate,
                other_digest: *other_digest,
            });
        }
        if settled.is_empty() {
            // All events have left the transaction, so there is nothing to commit. What a handler
            // wrote before it failed is undone already.
            store.rollback_failed(tx).await;
            add(&self.context.counters.redelivered, claims.redelivered);
            return Ok(left);
        }
        crash_point!("worker.before_settle");
        let written = match self.settle(&mut tx, &withdrawn, &settled).await {
            Ok(()) => {
                crash_point!("worker.before_commit");
                store.commit(tx).await
            }
            Err(error) => {
                store.rollback(tx).await;
                Err(error)
            }
        };
        let remedy = |fault: &Fault| store.remedy(fault);
        let ran = settled.first().is_some_and(|first| is_done(&first.outcome));
        written.map_err(|error| attribute(error, &claims.events, ran, remedy))?;
        crash_point!("worker.after_commit");
        outcomes::count(self.context, &settled, claims.redelivered);
        Ok(left)
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
        store.settle(tx, route, settled).await
    }
}

/// Builds the failure of an orphaned event. The claim of such an event is committed, but the event
/// has no outcome. This happens only if its handler ended the transaction itself.
pub(crate) fn orphaned() -> HandlerFailure {
    let error = "an earlier run of the handler ended its own transaction; whether all of its \
                 effects stand is not known, so it is not run again";
    HandlerFailure {
        cause: FailureCause::Orphaned,
        error: error.to_owned(),
        interrupted: false,
        remedy: None,
    }
}

pub(crate) fn event_of<P>(
    envelope: &Envelope,
    number: EventNumber,
    (attempt, round): (u32, u32),
    payload: P,
) -> Event<P> {
    Event {
        id: envelope.event,
        number,
        receipt: envelope.receipt,
        source: envelope.source.clone(),
        topic: envelope.topic.clone(),
        digest: envelope.digest,
        received_at: envelope.received_at,
        attempt,
        round,
        body: envelope.body.clone(),
        payload,
    }
}
