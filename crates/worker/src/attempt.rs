//! One transaction over envelopes of distinct events: claim → check → handle → settle → commit.
//!
//! The functions stand in the order of "The path of one event" in docs/ARCHITECTURE.md. Everything
//! that can go wrong ends in an [`AttemptError`], which says what happened; `settle` decides what
//! follows.

use std::time::Instant;

use hookbox_crash::crash_point;
use hookbox_driver::{Fault, Outcome, ReceiptOutcome, Store};
use hookbox_event::Envelope;

use crate::attempt_error::AttemptError;
use crate::attribute::{attribute, is_done};
use crate::check::check;
use crate::claimed_event::{ClaimSet, ClaimedEvent};
use crate::claims::claim;
use crate::counters::{Counted, add};
use crate::proof::prove;
use crate::registered::{self, HandlerFailure};
use crate::route_context::RouteContext;
use crate::settle::FailureCause;
use crate::work::Work;
use crate::{Event, OnConflict};

/// One transaction over envelopes of distinct events.
pub(crate) struct Attempt<'a, S: Store> {
    pub context: &'a RouteContext<'a, S>,
    pub work: Work<'a, S>,
}

impl<S: Store> Attempt<'_, S> {
    /// Runs the transaction to its commit. On an error it returns what prevented the commit, and
    /// the transaction has no effect.
    pub async fn run(&self, envelopes: &[&Envelope]) -> Result<(), AttemptError> {
        let store = self.context.store();
        let mut tx = match self.work {
            Work::Handle(route) if !route.handler.is_trusted() => store.begin_for_handler().await?,
            Work::Handle(_) | Work::GiveUp { .. } => store.begin().await?,
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
            return Ok(());
        }
        crash_point!("worker.after_claim");
        let mut outcomes = Vec::with_capacity(claims.events.len());
        for event in &claims.events {
            match self.work_on(&mut tx, event).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    if error.is_interrupted() {
                        // The handler was stopped in the middle of a statement, so the connection
                        // can only be closed.
                        drop(tx);
                    } else {
                        store.rollback(tx).await;
                    }
                    return Err(error);
                }
            }
        }
        self.finish(tx, &claims, outcomes).await
    }

    async fn claim(&self, tx: &mut S::Tx, envelopes: &[&Envelope]) -> Result<ClaimSet, Fault> {
        let mut claims = ClaimSet::default();
        for claim in claim(self.context, tx, envelopes).await? {
            claims.add(claim);
        }
        Ok(claims)
    }

    /// Returns the outcome of one event. Runs the handler for that, unless the event must not be
    /// handled.
    async fn work_on(&self, tx: &mut S::Tx, event: &ClaimedEvent) -> Result<Outcome, AttemptError> {
        let started = Instant::now();
        let (context, envelope) = (self.context, &event.envelope);
        let failed = |failure| AttemptError::handler(event, failure, started.elapsed());
        if event.is_orphaned {
            return Err(failed(orphaned()));
        }
        let route = match self.work {
            Work::Handle(route) => route,
            Work::GiveUp { reason, detail } => {
                return Ok(Outcome::Dead {
                    reason,
                    detail: detail.to_owned(),
                });
            }
        };
        let config = &context.inner.config;
        if let Some(original) = event.conflict_with
            && config.on_conflict(&envelope.topic) == OnConflict::DeadLetter
        {
            let detail = format!("another body came under the id of event {original}");
            return Ok(Outcome::Conflict { detail });
        }
        let schemas = config.schemas.of(&envelope.source);
        let (store, handler) = (context.store(), &*route.handler);
        let is_built = handler.builds_payload();
        let read = match check(
            schemas.as_deref(),
            &envelope.topic,
            &envelope.body,
            is_built,
        ) {
            Ok(read) => read,
            Err(broken) => {
                return Ok(Outcome::Dead {
                    reason: broken.reason,
                    detail: broken.detail,
                });
            }
        };
        let connection = store.connection(tx);
        let handled = event_of(envelope, event.attempt, read);
        let _running = Counted::new(&context.counters.running, 1);
        let ran = registered::run(store, handler, handled, connection, route.time_limit).await;
        crash_point!("worker.mid_handler", envelope.topic.as_str());
        let ran = if handler.is_trusted() {
            ran
        } else {
            prove(store, tx, ran).await?
        };
        match ran {
            Ok(()) => Ok(Outcome::Done {
                attempt: event.attempt,
            }),
            Err(failure) => Err(failed(failure)),
        }
    }

    /// Writes the outcome of every receipt and commits.
    async fn finish(
        &self,
        mut tx: S::Tx,
        claims: &ClaimSet,
        outcomes: Vec<Outcome>,
    ) -> Result<(), AttemptError> {
        let store = self.context.store();
        let mut settled: Vec<ReceiptOutcome<'_>> = claims
            .events
            .iter()
            .zip(outcomes)
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
        crash_point!("worker.before_settle");
        let written = match store.settle(&mut tx, self.context.route, &settled).await {
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
        self.count(&settled, claims.redelivered);
        Ok(())
    }

    /// Records that a handler succeeded, which shows that the route lacks no right in the database.
    fn has_succeeded(&self) {
        if self.context.counters.rights.succeed() {
            let route = self.context.route;
            tracing::info!(
                route = %route,
                "a handler of route {route} succeeded again; the route resumes"
            );
        }
    }

    fn count(&self, settled: &[ReceiptOutcome<'_>], redelivered: u64) {
        let (counters, route) = (self.context.counters, self.context.route);
        add(&counters.redelivered, redelivered);
        for ReceiptOutcome {
            outcome, envelope, ..
        } in settled
        {
            match outcome {
                Outcome::Done { .. } => {
                    add(&counters.done, 1);
                    self.has_succeeded();
                }
                Outcome::Duplicate => add(&counters.duplicate, 1),
                Outcome::Conflict { .. } => add(&counters.conflict, 1),
                Outcome::Dead { reason, .. } => {
                    add(&counters.dead, 1);
                    tracing::warn!(
                        event.id = %envelope.event,
                        event.topic = %envelope.topic,
                        route = %route,
                        reason = reason.as_str(),
                        "event {} is a dead letter of route {route} ({}); see `hookbox dead list`",
                        envelope.event,
                        reason.as_str()
                    );
                }
            }
        }
    }
}

/// Builds the failure of an orphaned event: its claim is committed without an outcome, which only
/// happens if its handler ended the transaction itself.
fn orphaned() -> HandlerFailure {
    let error = "an earlier run of the handler ended its own transaction; whether all of its \
                 effects stand is not known, so it is not run again";
    HandlerFailure {
        cause: FailureCause::Orphaned,
        error: error.to_owned(),
        interrupted: false,
        remedy: None,
    }
}

pub(crate) fn event_of<P>(envelope: &Envelope, attempt: u32, payload: P) -> Event<P> {
    Event {
        id: envelope.event,
        receipt: envelope.receipt,
        source: envelope.source.clone(),
        topic: envelope.topic.clone(),
        digest: envelope.digest,
        received_at: envelope.received_at,
        attempt,
        body: envelope.body.clone(),
        payload,
    }
}
