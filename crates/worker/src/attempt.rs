//! One transaction over envelopes of distinct events: claim → check → handle → settle → commit.
//! [`Attempt`] is the transaction. [`Batch`] is those of its events on which the handler runs; it
//! stands here to keep the path to a handler short. When the handler fails on some of several
//! events, what it wrote is undone, and the others run again in the same transaction.
//!
//! Everything that can go wrong ends in an [`AttemptError`], which says what happened; `settle`
//! decides what follows.

use std::ops::Range;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{CommitError, Fault, Outcome, ReceiptOutcome, Store};
use hookbox_event::{Envelope, EventId};
use tokio::time::Instant;

use crate::attempt_error::AttemptError;
use crate::attribute::{self, attribute, is_done};
use crate::claimed_event::{ClaimSet, ClaimedEvent};
use crate::claims::claim;
use crate::counters::add;
use crate::decisions::decide;
use crate::handler_failure::HandlerFailure;
use crate::left::LeftEvents;
use crate::outcomes;
use crate::parts::Parts;
use crate::proof::prove;
use crate::registered::{Handled, Prepared, Readied, Registered};
use crate::route_context::RouteContext;
use crate::run_failure::RunFailure;
use crate::running_handlers::RunningHandler;
use crate::time_limits::{CONTINUES_UNTIL, STARTS_UNTIL, limit_of_all, limit_of_each};
use crate::work::Work;
use crate::{Event, Json, Route};

/// One transaction over envelopes of distinct events.
pub(crate) struct Attempt<'a, S: Store> {
    pub context: &'a RouteContext<'a, S>,
    pub work: Work<'a, S>,
}

impl<S: Store> Attempt<'_, S> {
    /// Runs the transaction up to its commit. Returns the events that have left the transaction,
    /// for example because the handler failed on them. If there is only one event, it does not
    /// leave: its failure is returned. If the transaction cannot be committed, returns the reason,
    /// and the transaction has no effect. Adds to `failed_runs` how many runs of the handler failed
    /// and were undone, after which the transaction continued with other events.
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
        let handle = async {
            let decisions = decide(self.context, self.work, &mut tx, &claims.events).await?;
            let batch = Batch::new(self.context, self.work, decisions.to_handle)?;
            let mut left = match batch {
                Some(batch) => batch.run(&mut tx, failed_runs).await?,
                None => LeftEvents::default(),
            };
            decisions.superseded.leave(&claims.events, &mut left);
            Ok::<_, AttemptError>((decisions.outcomes, left))
        };
        let ended = match handle.await {
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
        };
        ended.map_err(AttemptError::after_handler)
    }

    async fn claim(&self, tx: &mut S::Tx, envelopes: &[&Envelope]) -> Result<ClaimSet, Fault> {
        let mut claims = ClaimSet::default();
        for claim in claim(self.context, tx, envelopes).await? {
            claims.add(claim);
        }
        Ok(claims)
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

/// The claimed events of one transaction on which the handler runs.
struct Batch<'t, S: Store> {
    context: &'t RouteContext<'t, S>,
    route: &'t Route<S>,
    handler: &'t Registered<S>,
    /// The events, in the order of `prepared`.
    events: Vec<&'t ClaimedEvent>,
    prepared: Box<dyn Prepared<S>>,
    /// The events that have left the transaction.
    left: LeftEvents,
    /// Whether the transaction has several events for the handler, so that a failed one can leave.
    is_shared: bool,
    /// Whether the handler has answered a run on several events with [`Handled::OneByOne`], so that
    /// it has to be called once for each event.
    is_one_by_one: bool,
    started: Instant,
    /// The sum of the time limits of all runs so far.
    allowed: Duration,
}

impl<'t, S: Store> Batch<'t, S> {
    /// Makes the payloads of claimed events. Returns `None` if there are no events for a handler.
    /// An event whose payload cannot be made has failed, whatever becomes of the others: it leaves
    /// the transaction. If it is the only event, its failure is returned.
    fn new(
        context: &'t RouteContext<'t, S>,
        work: Work<'t, S>,
        claimed: Vec<(&'t ClaimedEvent, Event<Option<Json>>)>,
    ) -> Result<Option<Self>, AttemptError> {
        let (route, handler) = match work {
            Work::Handle { route, handler, .. } if !claimed.is_empty() => (route, handler),
            Work::Handle { .. } | Work::GiveUp { .. } => return Ok(None),
        };
        let started = Instant::now();
        let (events, handled): (Vec<_>, Vec<_>) = claimed.into_iter().unzip();
        let is_shared = handled.len() > 1;
        let Readied { prepared, unready } = handler.prepare(handled);
        let mut batch = Self {
            context,
            route,
            handler,
            events,
            prepared,
            left: LeftEvents::default(),
            is_shared,
            is_one_by_one: false,
            started,
            allowed: Duration::ZERO,
        };
        // Events are removed from the last to the first, so that the positions of the others stay
        // valid.
        for (at, why) in unready.iter().rev() {
            let failed = RunFailure {
                of: *at..*at + 1,
                failure: HandlerFailure::of_payload(context.store(), why),
            };
            match failed.into_error(&batch.events, started.elapsed()) {
                AttemptError::Handler(failed) if is_shared => batch.left.failed.push(*failed),
                error => return Err(error),
            }
            batch.events.remove(*at);
        }
        batch.left.failed.reverse();
        Ok(Some(batch))
    }

    /// Runs the handler on all events. Adds the number of failed runs to `failed_runs`. Returns the
    /// events that have left the transaction.
    async fn run(
        mut self,
        tx: &mut S::Tx,
        failed_runs: &mut usize,
    ) -> Result<LeftEvents, AttemptError> {
        let mut parts = Parts::new(self.events.len(), *failed_runs);
        // Whether the savepoint is set at the point where the next run starts. It is still there
        // after a failed run was undone.
        let mut is_set = false;
        while let Some(part) = parts.next() {
            if self.is_too_old_to_start() {
                parts.leave(part);
                continue;
            }
            if self.is_shared && !is_set {
                let set = self.context.store().savepoint(tx).await;
                set.map_err(attribute::of_several)?;
                is_set = true;
            }
            let at_once = if part.len() > 1 && !self.is_one_by_one {
                self.run_all(tx, part.clone()).await?
            } else {
                Ok(Handled::OneByOne)
            };
            let ran = match at_once {
                Ok(Handled::All) => Ok(part.end),
                Ok(Handled::OneByOne) => self.run_each(tx, part.clone()).await?,
                Err(failed) => Err(failed),
            };
            match ran {
                Ok(end) => {
                    is_set = false;
                    parts.succeeded(&part);
                    parts.leave(end..part.end);
                }
                Err(failed) if self.is_shared && self.may_undo(&failed.failure) => {
                    let undone = self.context.store().undo(tx).await;
                    undone.map_err(attribute::of_several)?;
                    parts.failed(part, &failed.of);
                    *failed_runs = parts.failed_runs();
                }
                Err(failed) => return Err(failed.into_error(&self.events, self.started.elapsed())),
            }
        }
        let left = parts.left().iter().filter_map(|at| self.events.get(*at));
        let left = left.map(|event| (*event).clone());
        self.left.alone.extend(left);
        Ok(self.left)
    }

    /// Returns whether the transaction is too old for another run: see [`STARTS_UNTIL`]. An event
    /// that is alone in its transaction cannot leave it, so it always runs.
    fn is_too_old_to_start(&self) -> bool {
        self.is_shared && self.started.elapsed() > STARTS_UNTIL
    }

    /// Returns whether the events that did not fail can run again in the same transaction. They can
    /// if the handler has returned an error of its own and the transaction is not older than
    /// [`CONTINUES_UNTIL`]. After a fault, the whole transaction is repeated instead. After a
    /// handler that was stopped in the middle of a statement, the connection is closed.
    fn may_undo(&self, failure: &HandlerFailure) -> bool {
        let is_young = self.started.elapsed() <= CONTINUES_UNTIL;
        failure.has_returned() && is_young && self.context.may_start().is_ok()
    }

    /// Runs the handler on one event after another. Returns the position after the last event on
    /// which it has run. That position is before the end of `which` if the transaction has become
    /// too old for the rest.
    async fn run_each(
        &mut self,
        tx: &mut S::Tx,
        which: Range<usize>,
    ) -> Result<Result<usize, RunFailure>, Fault> {
        let (store, time_limit) = (self.context.store(), self.route.time_limit);
        // These runs count as one running handler with one time limit, because no event is settled
        // before the last of them has ended.
        let limit = limit_of_each(time_limit, which.len());
        let _running = self.start(limit);
        for at in which.clone() {
            if self.is_too_old_to_start() {
                return Ok(Ok(at));
            }
            let connection = store.connection(tx);
            let handled = self.prepared.handle(at, store, connection, time_limit);
            let ran = handled.await;
            if let Some(event) = self.events.get(at) {
                crash_point!("worker.mid_handler", event.envelope.topic.as_str());
            }
            if let Err(failure) = self.checked(tx, ran).await? {
                let of = at..at + 1;
                return Ok(Err(RunFailure { of, failure }));
            }
        }
        Ok(Ok(which.end))
    }

    /// Adds a run to the running handlers of the route. No event is settled before the last run of
    /// the transaction has ended. So the time limit that is recorded for this run is the sum of the
    /// limits of all runs so far.
    fn start(&mut self, limit: Duration) -> RunningHandler<'t> {
        self.allowed = self.allowed.saturating_add(limit);
        self.context.counters.running.start(self.allowed)
    }

    /// Runs the handler on several events at once. Whether the handler left the transaction intact
    /// is checked only once, after all events. So if the transaction is broken, it is not known on
    /// which event the handler broke it.
    async fn run_all(
        &mut self,
        tx: &mut S::Tx,
        which: Range<usize>,
    ) -> Result<Result<Handled, RunFailure>, Fault> {
        let store = self.context.store();
        let limit = limit_of_all(self.route.time_limit, which.len());
        let before = self.allowed;
        let _running = self.start(limit);
        let connection = store.connection(tx);
        let ran = self
            .prepared
            .handle_all(which.clone(), store, connection, limit);
        let (ran, event) = match ran.await {
            Ok(Handled::OneByOne) => {
                self.allowed = before;
                self.is_one_by_one = true;
                return Ok(Ok(Handled::OneByOne));
            }
            Ok(Handled::All) => (Ok(()), None),
            Err(failed) => (Err(failed.failure), failed.event),
        };
        for event in self.events.get(which.clone()).unwrap_or_default() {
            crash_point!("worker.mid_handler", event.envelope.topic.as_str());
        }
        let ran = self.checked(tx, ran).await?;
        Ok(match ran {
            Ok(()) => Ok(Handled::All),
            Err(failure) => Err(RunFailure::of_several(which, &self.events, failure, event)),
        })
    }

    /// Checks, after a run of a handler that is not trusted, that the handler has left its
    /// transaction and its session intact. Returns the failure that results from the run and this
    /// check.
    async fn checked(
        &self,
        tx: &mut S::Tx,
        ran: Result<(), HandlerFailure>,
    ) -> Result<Result<(), HandlerFailure>, Fault> {
        if self.handler.is_trusted() {
            return Ok(ran);
        }
        prove(self.context.store(), tx, ran).await
    }
}
