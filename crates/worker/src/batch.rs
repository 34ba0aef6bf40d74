//! Runs the handler on the events that a transaction has claimed: on all of them at once if the
//! handler can do that, or else on one after another. When it fails on some of several events, what
//! it wrote is undone, and the others run again in the same transaction.

use std::ops::Range;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Fault, Store};
use tokio::time::Instant;

use crate::attempt_error::{AttemptError, FailedAttempt, STATEMENT};
use crate::attribute;
use crate::claimed_event::ClaimedEvent;
use crate::left::LeftEvents;
use crate::parts::Parts;
use crate::prepared::Prepared;
use crate::proof::prove;
use crate::registered::{self, BATCH_TIME_LIMIT_MAX, Handled, HandlerFailure, Readied};
use crate::route_context::RouteContext;
use crate::running_handlers::RunningHandler;
use crate::settle::FailureCause;
use crate::{Event, Json, Registered, Route};

/// The greatest age at which a transaction continues with other events after the handler has failed
/// in it. An older transaction is rolled back. Otherwise it could hold its locks for as long again,
/// and on SQLite no other transaction could write in that time. The server also limits the length
/// of a transaction. After this time, that limit allows one more run of each event, but not many
/// runs.
const CONTINUES_UNTIL: Duration = Duration::from_secs(5);

/// The greatest age of a transaction at which another run of the handler starts in it. An event
/// whose run would start later leaves the transaction, and runs in a transaction of its own.
/// Without this limit, 64 slow events could keep a transaction open for more than 30 minutes.
/// RabbitMQ redelivers their message after that time, so nothing would ever be committed.
const STARTS_UNTIL: Duration = BATCH_TIME_LIMIT_MAX;

/// The claimed events of one transaction on which the handler runs.
pub(crate) struct Batch<'t, S: Store> {
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

/// The failure of a run of the handler.
struct RunFailure {
    /// The positions, in `events`, of the events that may have caused the failure: a single one if
    /// the cause is known.
    of: Range<usize>,
    failure: HandlerFailure,
}

impl<'t, S: Store> Batch<'t, S> {
    /// Makes the payloads of claimed events. An event whose payload cannot be made has failed,
    /// whatever becomes of the others: it leaves the transaction. If it is the only event, its
    /// failure is returned.
    pub fn new(
        context: &'t RouteContext<'t, S>,
        route: &'t Route<S>,
        handler: &'t Registered<S>,
        claimed: Vec<(&'t ClaimedEvent, Event<Option<Json>>)>,
    ) -> Result<Self, AttemptError> {
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
                failure: registered::unready(context.store(), why),
            };
            match batch.error(failed) {
                AttemptError::Handler(failed) if is_shared => batch.left.failed.push(*failed),
                error => return Err(error),
            }
            batch.events.remove(*at);
        }
        batch.left.failed.reverse();
        Ok(batch)
    }

    /// Runs the handler on all events. Adds the number of failed runs to `failed_runs`. Returns the
    /// events that have left the transaction.
    pub async fn run(
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
            match self.run_group(tx, part.clone()).await? {
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
                Err(failed) => return Err(self.error(failed)),
            }
        }
        let left = parts.left().iter().filter_map(|at| self.events.get(*at));
        let left = left.map(|event| (*event).clone());
        self.left.alone.extend(left);
        Ok(self.left)
    }

    /// Returns whether the transaction is too old for another run: see [`STARTS_UNTIL`].
    fn is_too_old_to_start(&self) -> bool {
        self.started.elapsed() > STARTS_UNTIL
    }

    /// Returns whether the events that did not fail can run again in the same transaction. They can
    /// if the handler has returned an error of its own and the transaction is not older than
    /// [`CONTINUES_UNTIL`]. After a fault, the whole transaction is repeated instead. After a
    /// handler that was stopped in the middle of a statement, the connection is closed.
    fn may_undo(&self, failure: &HandlerFailure) -> bool {
        let is_young = self.started.elapsed() <= CONTINUES_UNTIL;
        failure.has_returned() && is_young && self.context.may_start().is_ok()
    }

    /// Runs the handler on some of the events. Returns the position after the last event on which
    /// it has run. That position is before the end of `which` if the transaction has become too old
    /// for the rest.
    async fn run_group(
        &mut self,
        tx: &mut S::Tx,
        which: Range<usize>,
    ) -> Result<Result<usize, RunFailure>, Fault> {
        if which.len() > 1 && !self.is_one_by_one {
            match self.run_all(tx, which.clone()).await? {
                Ok(Handled::All) => return Ok(Ok(which.end)),
                Ok(Handled::OneByOne) => self.is_one_by_one = true,
                Err(failed) => return Ok(Err(failed)),
            }
        }
        // These runs count as one running handler with one time limit, because no event is settled
        // before the last of them has ended.
        let limit = registered::limit_of_each(self.route.time_limit, which.len());
        let _running = self.start(limit.min(STARTS_UNTIL + self.route.time_limit));
        for at in which.clone() {
            if self.is_too_old_to_start() {
                return Ok(Ok(at));
            }
            if let Err(failure) = self.run_one(tx, at).await? {
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

    async fn run_one(
        &self,
        tx: &mut S::Tx,
        at: usize,
    ) -> Result<Result<(), HandlerFailure>, Fault> {
        let (store, limit) = (self.context.store(), self.route.time_limit);
        let connection = store.connection(tx);
        let ran = registered::run(store, &*self.prepared, at, connection, limit).await;
        if let Some(event) = self.events.get(at) {
            crash_point!("worker.mid_handler", event.envelope.topic.as_str());
        }
        if self.handler.is_trusted() {
            return Ok(ran);
        }
        prove(store, tx, ran).await
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
        let limit = registered::limit_of_all(self.route.time_limit, which.len());
        let before = self.allowed;
        let _running = self.start(limit);
        let connection = store.connection(tx);
        let ran = registered::run_all(store, &*self.prepared, which.clone(), connection, limit);
        let (ran, event) = match ran.await {
            Ok(Handled::OneByOne) => {
                self.allowed = before;
                return Ok(Ok(Handled::OneByOne));
            }
            Ok(Handled::All) => (Ok(()), None),
            Err(failed) => (Err(failed.failure), failed.event),
        };
        for event in self.events.get(which.clone()).unwrap_or_default() {
            crash_point!("worker.mid_handler", event.envelope.topic.as_str());
        }
        let ran = if self.handler.is_trusted() {
            ran
        } else {
            prove(store, tx, ran).await?
        };
        Ok(match ran {
            Ok(()) => Ok(Handled::All),
            Err(failure) => {
                // If the handler has ended the transaction, the event that its error names does not
                // count: it may have ended the transaction on any event of the run.
                let named = event.filter(|_| failure.cause != FailureCause::Orphaned);
                let is_named = |at: &usize| {
                    let event = self.events.get(*at);
                    event.is_some_and(|it| Some(it.envelope.event) == named)
                };
                let at = which.clone().find(is_named);
                let of = at.map_or(which, |at| at..at + 1);
                Err(RunFailure { of, failure })
            }
        })
    }

    /// Converts the failure of a run into the error that ends the transaction.
    fn error(&self, failed: RunFailure) -> AttemptError {
        let RunFailure { of, failure } = failed;
        let took = self.started.elapsed();
        let events = self.events.get(of).unwrap_or_default();
        if let [event] = events {
            return AttemptError::handler(event, failure, took);
        }
        match failure.cause {
            FailureCause::Fault(kind) => AttemptError::Fault(Fault::plain(kind, STATEMENT)),
            FailureCause::Orphaned => {
                let one = |event: &&ClaimedEvent| FailedAttempt {
                    event: (*event).clone(),
                    failure: failure.clone(),
                    took,
                };
                AttemptError::Ended(events.iter().map(one).collect())
            }
            FailureCause::Returned(_)
            | FailureCause::Panicked
            | FailureCause::TimedOut
            | FailureCause::BrokeTransaction => AttemptError::Unnamed {
                is_interrupted: failure.interrupted,
            },
        }
    }
}
