//! Runs the events of a batch together: all in one transaction, or in several if some of them fail.

use hookbox_driver::{Fault, FaultKind, Store};
use hookbox_event::{Envelope, ReceiptId};

use super::Process;
use crate::attempt_error::{AttemptError, FailedAttempt, STATEMENT};
use crate::groups::Groups;
use crate::left::LeftEvents;
use crate::pause::{Pause, Stopped};
use crate::run::Run;
use crate::settle::FailureCause;

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
    /// Runs events in one transaction, or in several if some of them fail. Returns those that have
    /// to run alone.
    pub(super) async fn run_groups<'e>(
        &self,
        events: &[&'e Envelope],
    ) -> Result<Vec<&'e Envelope>, Stopped> {
        let mut groups = Groups::of(events);
        while let Some(group) = groups.next() {
            match self.run_batch(&group, &mut groups.failed_runs).await? {
                BatchEnd::Committed(left) => groups.add_left(&group, &left),
                BatchEnd::Failed(receipt) => groups.take_out(group, &receipt),
                BatchEnd::FailedUnnamed => groups.halve(group),
                BatchEnd::Separate => groups.separate(group),
            }
        }
        Ok(groups.into_alone())
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
                    FailureCause::Fault(kind) => Fault::plain(kind, STATEMENT),
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
            let separates = match fault.kind() {
                FaultKind::Contention => !pause.is_quick(run.elapsed()),
                FaultKind::MissingRight => true,
                FaultKind::Unavailable | FaultKind::Internal => false,
            };
            if separates {
                return Ok(BatchEnd::Separate);
            }
            self.context.wait(&mut pause, &fault).await?;
        }
    }

    /// Records the failures of the events that have left a transaction because their payload could
    /// not be made. Returns the receipts of the events that have to run alone.
    async fn record_left(
        &self,
        run: &Run<'_, S>,
        received: &[&Envelope],
        left: LeftEvents,
        pause: &mut Pause<'_>,
    ) -> Result<Vec<ReceiptId>, Stopped> {
        let alone = left.alone.iter();
        let mut alone: Vec<ReceiptId> = alone.map(|event| event.envelope.receipt).collect();
        for failed in left.failed {
            let receipt = failed.event.envelope.receipt;
            if !self.record_failed(run, received, failed, pause).await? {
                alone.push(receipt);
            }
        }
        Ok(alone)
    }

    /// Records that a handler has ended its own transaction while it handled these events. Their
    /// effects may stand, so this is recorded before the handler could run again. Then each of the
    /// other events of `received` runs in its own transaction: if its claim was committed as well,
    /// it is found orphaned, and if its claim was rolled back, it can be claimed again.
    async fn record_ended(
        &self,
        run: &Run<'_, S>,
        received: &[&Envelope],
        failed: Vec<FailedAttempt>,
        pause: &mut Pause<'_>,
    ) -> Result<(), Stopped> {
        for failed in failed {
            self.record_failed(run, received, failed, pause).await?;
        }
        Ok(())
    }

    /// Records the failure of one event of a batch. Returns whether the event has its outcome now.
    async fn record_failed(
        &self,
        run: &Run<'_, S>,
        received: &[&Envelope],
        failed: FailedAttempt,
        pause: &mut Pause<'_>,
    ) -> Result<bool, Stopped> {
        let claimed = failed.event.envelope.clone();
        // The claim may have put the stored body into its envelope. What is recorded is the
        // envelope as it was received.
        let is_received = |it: &&&Envelope| it.receipt == claimed.receipt;
        let received = received.iter().find(is_received);
        let received = received.map_or(&claimed, |it| *it);
        let failed = Err(AttemptError::Handler(Box::new(failed)));
        self.conclude(run, received, failed, pause).await
    }
}
