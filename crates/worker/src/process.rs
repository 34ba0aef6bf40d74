//! Brings messages that were taken from the queue at the same time to their outcomes, and
//! acknowledges them. Their events run together in one transaction, each in its own transaction,
//! or alone in the process.

mod batches;

use std::collections::HashSet;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{DeadReason, Delivery, Fault, Start, Store, describe};
use hookbox_event::Envelope;
use tokio::time::sleep;

use crate::attempt::Attempt;
use crate::attempt_error::AttemptError;
use crate::counters::{Counted, add};
use crate::intake::{Contents, Intake};
use crate::pause::{Pause, Stopped};
use crate::route_context::RouteContext;
use crate::run::{Conclusion, Run};
use crate::slot::Slot;
use crate::suspicion::{Measure, Plan, Suspect};
use crate::work::Work;
use crate::would_run::would_run;
use crate::{record, start_markers};

/// How long a worker waits before it quarantines a suspected event. In this time, the store's
/// counts of the starts of the event's handler must not change. One of these starts may belong to a
/// process that is alive and whose run of the handler has just ended. That process removes its
/// start with one statement, which takes less than this time. So its start is not taken for a
/// process death.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// The detail of a dead letter in this case: the handler ended its own transaction, so it must not
/// run again. Before that could be recorded, another receipt changed the event.
const ENDED: &str = "the handler ended its own transaction, and the event was changed by another \
                     receipt before that was recorded; whether all of its effects stand is not \
                     known, so it is not run again";

/// Messages that were taken from the queue at the same time, and are processed until all of them
/// have their outcomes.
pub(crate) struct Process<'a, S: Store> {
    pub context: &'a RouteContext<'a, S>,
    pub work: Work<'a, S>,
    /// The permit for one of the transactions that the route may run at once. These messages use
    /// it. It is released early if a suspected event among them has to wait.
    pub slot: &'a Slot,
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

    /// Runs events while other handlers may run in this process. All of them share one transaction,
    /// but an event that keeps the others from their outcome gets a transaction of its own.
    async fn run_shared(&self, events: &[&Envelope], markers: &[Start]) -> Result<(), Stopped> {
        let _beside_others = tokio::select! {
            biased;
            shared = self.context.inner.isolation.shared() => shared,
            () = self.context.shutdown.cancelled() => return Err(Stopped),
        };
        start_markers::set(self.context, markers).await?;
        let ended = match self.run_groups(events).await {
            Ok(alone) => self.run_single(&alone).await,
            Err(Stopped) => Err(Stopped),
        };
        start_markers::clear(self.context, markers, ended).await
    }

    /// Runs each event in its own transaction until it has its outcome. An event that has to run
    /// again waits until the others have run. Once the worker drains, no further event starts.
    async fn run_single(&self, events: &[&Envelope]) -> Result<(), Stopped> {
        let mut waiting = Vec::with_capacity(events.len());
        for envelope in events {
            waiting.push((*envelope, self.context.pause()));
        }
        while !waiting.is_empty() {
            let mut again = Vec::new();
            for (envelope, mut pause) in waiting {
                self.context.may_start()?;
                let _probe = match self.work {
                    Work::Handle { .. } => {
                        let rights = &self.context.counters.rights;
                        rights.admit(self.context.shutdown).await?
                    }
                    Work::GiveUp { .. } => None,
                };
                let run = self.begin();
                let result = self.attempt().run_one(envelope).await;
                if !self.conclude(&run, envelope, result, &mut pause).await? {
                    again.push((envelope, pause));
                }
            }
            waiting = again;
        }
        Ok(())
    }

    /// Runs a suspected event alone in this process, or quarantines it.
    async fn run_isolated(&self, suspect: &Suspect<'_>) -> Result<(), Stopped> {
        let ended = self.isolate(suspect).await;
        let marker = [Start::of(suspect.envelope)];
        start_markers::clear(self.context, &marker, ended).await
    }

    /// Runs a suspected event in isolation until it has its outcome. All other work of this process
    /// stops during that run. So before the next run the other work gets at least as much time as
    /// the run took. Therefore other events reach their outcomes even if this event does not reach
    /// its own for hours.
    async fn isolate(&self, suspect: &Suspect<'_>) -> Result<(), Stopped> {
        let (context, envelope) = (self.context, suspect.envelope);
        let inner = context.inner;
        let mut suspect = *suspect;
        let mut pause = context.pause();
        let (mut is_logged, mut is_marked, mut is_confirmed) = (false, false, false);
        loop {
            // If another process has the event in flight, this call waits for that process, while
            // other work of this process continues.
            let would_run = || self.would_run(envelope);
            if context.until_done(would_run).await? {
                match suspect.measure {
                    Measure::Quarantine(detail) if is_confirmed => {
                        return self.quarantine(&suspect, detail).await;
                    }
                    Measure::Quarantine(_) => {
                        is_confirmed = self.confirm(&mut suspect).await?;
                        continue;
                    }
                    Measure::Isolate if is_logged => {}
                    Measure::Isolate => {
                        is_logged = true;
                        add(&context.counters.suspects, 1);
                        suspect.log_isolated(context.route);
                    }
                }
            }
            let turn =
                inner
                    .isolation
                    .isolate(suspect.counts.alone(), &inner.counters, context.shutdown);
            let Some(isolated) = turn.await? else {
                continue;
            };
            let run = self.begin();
            let result = match self.mark(envelope, &mut is_marked).await {
                Ok(()) => self.attempt().run_one(envelope).await,
                Err(fault) => Err(AttemptError::Fault(fault)),
            };
            if result.is_err() {
                start_markers::retract(context, Start::of(envelope)).await;
                is_marked = false;
            }
            let held = run.elapsed();
            drop(isolated);
            if self.conclude(&run, envelope, result, &mut pause).await? {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Err(Stopped),
                () = sleep(held) => {}
            }
        }
    }

    /// Waits for a while, reads the start counts of a suspected event again, and returns whether
    /// they are unchanged. A process that has survived its run of the event has removed its start
    /// marker by then, so the counts differ.
    async fn confirm(&self, suspect: &mut Suspect<'_>) -> Result<bool, Stopped> {
        tokio::select! {
            biased;
            () = self.context.shutdown.cancelled() => return Err(Stopped),
            () = sleep(CONFIRM_AFTER) => {}
        }
        let start = [Start::of(suspect.envelope)];
        let counts = start_markers::counts(self.context, &start).await?;
        Ok(counts
            .first()
            .is_some_and(|counts| suspect.recount(*counts)))
    }

    /// Sets the start marker of an event that runs alone in this process, if its handler would run
    /// now. A process counts only one start of an event, however often it runs the handler.
    /// Otherwise two processes that each have a copy of the message, and wait for each other, would
    /// count start after start. Those starts would look like process deaths.
    async fn mark(&self, envelope: &Envelope, is_marked: &mut bool) -> Result<(), Fault> {
        let (context, start) = (self.context, Start::of(envelope));
        *is_marked |= context
            .inner
            .own_markers
            .is_counted_alone(context.route, start);
        if self.would_run(envelope).await? && !*is_marked {
            start_markers::set_isolated(context, start).await?;
            *is_marked = true;
        }
        Ok(())
    }

    /// Returns whether the handler would run for an envelope now.
    async fn would_run(&self, envelope: &Envelope) -> Result<bool, Fault> {
        let rule = match self.work {
            Work::Handle { route, .. } => self.context.newest(route),
            Work::GiveUp { .. } => None,
        };
        would_run(self.context, rule, envelope).await
    }

    /// Stores a suspected event as a dead letter.
    async fn quarantine(&self, suspect: &Suspect<'_>, detail: &str) -> Result<(), Stopped> {
        suspect.log_quarantined(self.context.route, detail);
        let reason = DeadReason::Quarantined;
        self.give_up(suspect.envelope, reason, detail).await
    }

    /// Carries out what follows from a run of an event, and returns whether the event has its
    /// outcome now. If not, it has to run again.
    async fn conclude(
        &self,
        run: &Run<'_, S>,
        received: &Envelope,
        result: Result<(), AttemptError>,
        pause: &mut Pause<'_>,
    ) -> Result<bool, Stopped> {
        match run.conclude(result, pause).await? {
            Conclusion::Settled => Ok(true),
            Conclusion::RunAgain => Ok(false),
            Conclusion::GiveUp => {
                let reason = DeadReason::Orphaned;
                self.give_up(received, reason, ENDED).await?;
                Ok(true)
            }
        }
    }

    /// Stores as a dead letter an event whose handler must not run. Does nothing if the event has
    /// an outcome by now.
    async fn give_up(
        &self,
        envelope: &Envelope,
        reason: DeadReason,
        detail: &str,
    ) -> Result<(), Stopped> {
        let process = Process {
            work: Work::GiveUp { reason, detail },
            ..*self
        };
        let mut pause = self.context.pause();
        loop {
            let run = process.begin();
            let result = process.attempt().run_one(envelope).await;
            match run.conclude(result, &mut pause).await? {
                Conclusion::Settled => return Ok(()),
                Conclusion::RunAgain | Conclusion::GiveUp => {}
            }
        }
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

/// Acknowledges messages whose events have their outcomes, or releases messages whose work was
/// stopped.
pub(crate) async fn settle_messages<S: Store>(
    context: &RouteContext<'_, S>,
    deliveries: Vec<Delivery>,
    finished: Result<(), Stopped>,
) {
    for delivery in deliveries {
        crash_point!("worker.before_ack");
        let settled = match finished {
            Ok(()) => delivery.ack().await,
            Err(Stopped) => Delivery::release(delivery).await,
        };
        if let Err(fault) = settled {
            // The message is redelivered. If its receipts have their outcomes by then, nothing is
            // done about them again.
            let route = context.route;
            tracing::info!(
                route = %route,
                error = describe(&fault),
                "a message of route {route} could not be settled and will be redelivered"
            );
        }
        crash_point!("worker.after_ack");
    }
}
