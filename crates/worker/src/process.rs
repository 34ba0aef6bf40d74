//! Brings messages that were taken from the queue at the same time to their outcomes, and
//! acknowledges them. Their events run together in one transaction, each in its own transaction,
//! or alone in the process.

mod admission;
mod failures;
mod suspects;

use std::collections::HashSet;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{FaultKind, Start, Store};
use hookbox_event::{Envelope, ReceiptId};
use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::attempt_error::{AttemptError, of_statement};
use crate::counters::Counted;
use crate::groups::Groups;
use crate::intake::{Contents, Intake};
use crate::isolation::Shared;
use crate::left::LeftEvents;
use crate::pause::Stopped;
use crate::rights::Admission;
use crate::route_context::RouteContext;
use crate::run::Run;
use crate::settle::FailureCause;
use crate::settle_messages::settle_messages;
use crate::slot::Slot;
use crate::suspicion::Plan;
use crate::work::Work;
use crate::{record, start_markers};

/// After this many faults, while the store answers, the events of a batch run alone. One event, or
/// the size of the batch, may be the cause: a statement with more parameters than the protocol
/// allows, or a pause between two statements after which the server ends the session.
const FAULTS_TOGETHER_MAX: usize = 3;

/// While the route is paused because its handler lacks a right, its events are tried one at a time.
/// After this time, the events of these messages that were not tried are deferred, so that the
/// messages can be acknowledged. RabbitMQ closes the channel of a message that is not acknowledged
/// within 30 min, and each of up to 64 messages in flight may have 64 events.
const TRIED_WITHIN: Duration = Duration::from_secs(30);

/// Messages that were taken from the queue at the same time, and are processed until all of them
/// have their outcomes.
pub(crate) struct Process<'a, S: Store> {
    pub context: &'a RouteContext<'a, S>,
    pub work: Work<'a, S>,
    /// The permit for one of the transactions that the route may run at once. These messages use
    /// it. It is released early if a suspected event among them has to wait.
    pub slot: &'a Slot,
}

/// How a transaction over several events ended.
enum BatchEnd {
    /// The transaction was committed. The events of these receipts have left it and must run alone.
    Committed(Vec<ReceiptId>),
    /// The transaction was rolled back because the handler failed on the event of this receipt.
    Failed(ReceiptId),
    /// The transaction was rolled back because of one of its events, and it is not known which.
    FailedUnnamed,
    /// The events must not run together again. Each of them runs alone next.
    Separate,
}

impl<S: Store> Process<'_, S> {
    /// Brings the messages to their outcomes and acknowledges them. If a shutdown comes while a
    /// dependency is unavailable, the messages are released instead: no attempt is spent, and they
    /// are redelivered. Returns which of the two happened.
    pub async fn run(&self, intake: Intake) -> Result<(), Stopped> {
        let Intake {
            deliveries,
            contents,
        } = intake;
        crash_point!("worker.after_delivery");
        let receipts = contents.envelopes.len() + contents.undecodable.len();
        let _in_flight = Counted::new(&self.context.counters.in_flight, receipts as u64);
        let finished = self.run_contents(&contents).await;
        settle_messages(self.context, deliveries, finished).await;
        finished
    }

    async fn run_contents(&self, contents: &Contents) -> Result<(), Stopped> {
        for undecodable in &contents.undecodable {
            record::undecodable(self.context, undecodable).await?;
        }
        for round in contents.rounds() {
            self.store_shared(&round).await?;
            let redelivered = self.redelivered(&round, &contents.redelivered);
            let counts = start_markers::counts(self.context, &redelivered).await?;
            let plan = Plan::new(&round, &redelivered, &counts);
            self.run_shared(&plan.shared, &plan.markers).await?;
            for suspect in &plan.suspects {
                // The suspected event may wait for a long time. So the permit is given up first,
                // and another transaction of the route can run meanwhile.
                self.slot.release();
                self.run_isolated(suspect).await?;
            }
        }
        Ok(())
    }

    /// Stores those events that other routes get, too, in a separate transaction. Retries and
    /// replays are left out, because their events are stored already.
    async fn store_shared(&self, round: &[&Envelope]) -> Result<(), Stopped> {
        let Work::Handle { route, .. } = self.work else {
            return Ok(());
        };
        let is_shared = |it: &&&Envelope| it.redo.is_none() && route.shares(&it.topic);
        let shared: Vec<&Envelope> = round.iter().filter(is_shared).copied().collect();
        if shared.is_empty() {
            return Ok(());
        }
        let store = || self.context.store().store_events(&shared);
        self.context.until_done(store).await
    }

    /// Returns the start markers of those events that may have been in flight when a process died.
    fn redelivered(&self, round: &[&Envelope], redelivered: &HashSet<Start>) -> Vec<Start> {
        match self.work {
            Work::Handle { .. } => {
                let starts = round.iter().map(|envelope| Start::of(envelope));
                starts.filter(|start| redelivered.contains(start)).collect()
            }
            // `GiveUp` runs no handler, so no event can end the process, and no marker is needed.
            Work::GiveUp { .. } => Vec::new(),
        }
    }

    /// Runs events while other handlers may run in this process. All of them run in one
    /// transaction, or in several if some of them fail. An event that keeps the others from their
    /// outcome gets a transaction of its own.
    async fn run_shared(&self, events: &[&Envelope], markers: &[Start]) -> Result<(), Stopped> {
        let _beside_others = self.beside_others(events.len()).await?;
        start_markers::set(self.context, markers).await?;
        // The markers have to be removed after a stop as well, so `?` must not leave this function.
        let run = async {
            let mut groups = Groups::of(events);
            while let Some(group) = groups.next() {
                match self.run_batch(&group, &mut groups.failed_runs).await? {
                    BatchEnd::Committed(left) => groups.add_left(&group, &left),
                    BatchEnd::Failed(receipt) => groups.take_out(group, &receipt),
                    BatchEnd::FailedUnnamed => groups.halve(group),
                    BatchEnd::Separate => groups.separate(group),
                }
            }
            self.run_single(&groups.into_alone()).await
        };
        let ended = run.await;
        start_markers::clear(self.context, markers, ended).await
    }

    /// Waits until this number of events may run while other handlers run in this process.
    async fn beside_others(&self, events: usize) -> Result<Shared<'_>, Stopped> {
        let mut may_take = self.work.may_take(events);
        if self.context.counters.rights.missing().is_some() {
            // The events wait for their turn as probes, each for at most as long again.
            may_take = may_take.saturating_add(TRIED_WITHIN * 2);
        }
        tokio::select! {
            biased;
            shared = self.context.inner.isolation.shared(may_take) => Ok(shared),
            () = self.context.shutdown.cancelled() => Err(Stopped),
        }
    }

    /// Runs several events in one transaction, and runs them again after a fault of a dependency.
    /// Adds to `failed_runs` the number of those runs of the handler that failed and were undone,
    /// so that the transaction could continue.
    async fn run_batch(
        &self,
        events: &[&Envelope],
        failed_runs: &mut usize,
    ) -> Result<BatchEnd, Stopped> {
        let mut pause = self.context.pause();
        let before = *failed_runs;
        let mut faults = 0;
        loop {
            self.context.may_start()?;
            // After a fault, the whole transaction runs again, so the failed runs of its earlier
            // try do not count.
            *failed_runs = before;
            if self.context.counters.rights.missing().is_some() {
                // While the handler lacks a right, the route runs one event at a time and no
                // batches.
                return Ok(BatchEnd::Separate);
            }
            let run = self.begin();
            let fault = match self.attempt().run(events, failed_runs).await {
                Ok(left) => {
                    pause.over();
                    let left = self.record_left(&run, events, left, &mut pause).await?;
                    return Ok(BatchEnd::Committed(left));
                }
                Err(AttemptError::Fault(fault)) => fault,
                Err(AttemptError::Handler(failed)) => match failed.failure.cause {
                    FailureCause::Fault(kind) => of_statement(kind),
                    FailureCause::Returned(_)
                    | FailureCause::Panicked
                    | FailureCause::TimedOut
                    | FailureCause::BrokeTransaction => {
                        return Ok(BatchEnd::Failed(failed.event.envelope.receipt));
                    }
                    FailureCause::Orphaned => {
                        self.record_ended(&run, events, vec![*failed], &mut pause)
                            .await?;
                        return Ok(BatchEnd::Separate);
                    }
                },
                Err(AttemptError::Ended(failed)) => {
                    self.record_ended(&run, events, failed, &mut pause).await?;
                    return Ok(BatchEnd::Separate);
                }
                Err(AttemptError::Unnamed { .. }) => return Ok(BatchEnd::FailedUnnamed),
                // A trusted handler has broken or ended the transaction. There is no proof after a
                // trusted handler, so it is not known which of the two happened. If the transaction
                // was ended, its effects may stand. So each event runs alone next, which needs the
                // fewest further runs.
                Err(AttemptError::Broken { .. }) => return Ok(BatchEnd::Separate),
            };
            faults += 1;
            let separates = match fault.kind() {
                FaultKind::Contention => !pause.is_quick(run.elapsed()),
                FaultKind::MissingRight => true,
                FaultKind::Unavailable | FaultKind::Internal => {
                    faults > FAULTS_TOGETHER_MAX && self.context.store().ping().await.is_ok()
                }
            };
            if separates {
                return Ok(BatchEnd::Separate);
            }
            self.context.wait(&mut pause, &fault).await?;
        }
    }

    /// Runs each event in its own transaction until it has its outcome. An event that has to run
    /// again waits until the others have run. Once the worker drains, no further event starts.
    /// While the route is paused for a missing right, events that are not tried in time are
    /// deferred.
    async fn run_single(&self, events: &[&Envelope]) -> Result<(), Stopped> {
        let tried_until = Instant::now() + TRIED_WITHIN;
        let mut waiting = Vec::with_capacity(events.len());
        for envelope in events {
            waiting.push((*envelope, self.context.pause()));
        }
        while !waiting.is_empty() {
            let mut again = Vec::new();
            for (envelope, mut pause) in waiting {
                self.context.may_start()?;
                let _probe = match self.admit(envelope, tried_until).await? {
                    Admission::Run => None,
                    Admission::Probe(probe) => Some(probe),
                    Admission::Late => continue,
                };
                let run = self.begin();
                let ran = self.attempt().run(&[envelope], &mut 0).await;
                let result = ran.and_then(LeftEvents::none);
                if !self.conclude(&run, envelope, result, &mut pause).await? {
                    again.push((envelope, pause));
                }
            }
            waiting = again;
        }
        Ok(())
    }

    fn attempt(&self) -> Attempt<'_, S> {
        Attempt {
            context: self.context,
            work: self.work,
        }
    }

    fn begin(&self) -> Run<'_, S> {
        Run::begin(self.context, self.work)
    }
}
