//! Carries out what follows when an event has failed, or must not run.

use hookbox_driver::{DeadReason, Store};
use hookbox_event::{Envelope, ReceiptId};

use super::Process;
use crate::attempt_error::{AttemptError, FailedAttempt};
use crate::left::LeftEvents;
use crate::pause::{Pause, Stopped};
use crate::run::{Conclusion, Run};
use crate::work::Work;

/// The detail of a dead letter in this case: the handler ended its own transaction, so it must not
/// run again. Before that could be recorded, another receipt changed the event.
const ENDED: &str = "the handler ended its own transaction, and the event was changed by another \
                     receipt before that was recorded; whether all of its effects stand is not \
                     known, so it is not run again";

impl<S: Store> Process<'_, S> {
    /// Records the failures of the events that have left a transaction because their payload could
    /// not be made. Returns the receipts of the events that have to run alone.
    pub(super) async fn record_left(
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
    pub(super) async fn record_ended(
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

    /// Carries out what follows from a run of an event, and returns whether the event has its
    /// outcome now. If not, it has to run again.
    pub(super) async fn conclude(
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
    pub(super) async fn give_up(
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
            let ran = process.attempt().run(&[envelope], &mut 0).await;
            let result = ran.and_then(LeftEvents::none);
            match run.conclude(result, &mut pause).await? {
                Conclusion::Settled => return Ok(()),
                Conclusion::RunAgain | Conclusion::GiveUp => {}
            }
        }
    }
}
