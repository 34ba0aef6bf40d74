//! Runs an event that may have ended a process: alone in this process, or not at all.

use std::time::Duration;

use hookbox_driver::{DeadReason, Fault, Start, Store};
use hookbox_event::Envelope;
use tokio::time::sleep;

use super::Process;
use crate::attempt_error::AttemptError;
use crate::counters::add;
use crate::left::LeftEvents;
use crate::pause::{Pause, Stopped};
use crate::start_markers;
use crate::suspicion::{Measure, Suspect};
use crate::work::Work;
use crate::would_run::would_run;

/// How long a worker waits before it quarantines a suspected event. In this time, the store's
/// counts of the starts of the event's handler must not change. One of these starts may belong to a
/// process that is alive and whose run of the handler has just ended. That process removes its
/// start with one statement, which takes less than this time. So its start is not taken for a
/// process death.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

impl<S: Store> Process<'_, S> {
    /// Runs a suspected event alone in this process, or quarantines it.
    pub(super) async fn run_isolated(&self, suspect: &Suspect<'_>) -> Result<(), Stopped> {
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
            if !context.until_done(would_run).await? {
                if self.settle(envelope, &mut pause).await? {
                    return Ok(());
                }
                continue;
            }
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
            let turn =
                inner
                    .isolation
                    .isolate(suspect.counts.alone(), &inner.counters, context.shutdown);
            let Some(isolated) = turn.await? else {
                continue;
            };
            let run = self.begin();
            let result = match self.mark(envelope, &mut is_marked).await {
                Ok(()) => {
                    let ran = self.attempt().run(&[envelope], &mut 0).await;
                    ran.and_then(LeftEvents::none)
                }
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

    /// Brings a suspected event on which the handler would not run to its outcome. Without a run it
    /// hardly can end the process (the check of the body of a stale event could), so the other work
    /// of this process continues. Returns false if the
    /// event has no outcome yet, for example because the handler would run after all.
    async fn settle(&self, envelope: &Envelope, pause: &mut Pause<'_>) -> Result<bool, Stopped> {
        let process = Process {
            work: self.work.without_run(),
            ..*self
        };
        let beside_others = process.beside_others(1).await?;
        let run = process.begin();
        let ran = process.attempt().run(&[envelope], &mut 0).await;
        drop(beside_others);
        let result = ran.and_then(LeftEvents::none);
        process.conclude(&run, envelope, result, pause).await
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
}
