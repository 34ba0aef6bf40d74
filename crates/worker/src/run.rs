//! Does what follows from one run of one event: nothing, a wait, a deferral, or a recorded attempt.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{
    DeadReason, DeferReason, Deferred, FailureClass, Fault, FaultKind, Recorded, Store, Then,
};
use tokio::time::Instant;

use crate::attempt_error::{AttemptError, FailedAttempt, of_statement};
use crate::error::Class;
use crate::pause::{Pause, Stopped};
use crate::record;
use crate::route_context::RouteContext;
use crate::settle::{FailureCause, Settlement, settle};
use crate::work::Work;

/// What is left to do with an event after its transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// Nothing is left to do: the event has its outcome.
    Settled,
    /// The event has to run again.
    RunAgain,
    /// The handler has ended its own transaction, and that could not be recorded, because the event
    /// has changed since it was claimed. Whatever the event is now, its handler must not run again.
    GiveUp,
}

/// One run of an event in its own transaction.
pub(crate) struct Run<'a, S: Store> {
    context: &'a RouteContext<'a, S>,
    work: Work<'a, S>,
    began: Instant,
    /// How often this worker had found the store unavailable when the run began.
    store_faults: u64,
    /// How often this process was stopped before the run began.
    stops: u64,
}

impl<'a, S: Store> Run<'a, S> {
    /// Begins a run. Notes how often the store was found unavailable so far: if the number is
    /// higher at the end of the run, the store was unavailable meanwhile.
    pub fn begin(context: &'a RouteContext<'a, S>, work: Work<'a, S>) -> Self {
        Self {
            context,
            work,
            began: Instant::now(),
            store_faults: context.inner.store_faults.load(Ordering::Relaxed),
            stops: context.inner.pulse.beat(Instant::now()),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Does what follows from the run, and returns what is left to do.
    pub async fn conclude(
        &self,
        result: Result<(), AttemptError>,
        pause: &mut Pause<'_>,
    ) -> Result<Conclusion, Stopped> {
        let took = self.elapsed();
        let failed = match result {
            Ok(()) => {
                pause.over();
                return Ok(Conclusion::Settled);
            }
            Err(AttemptError::Handler(failed)) => failed,
            Err(AttemptError::Fault(fault)) => return self.wait(pause, &fault).await,
            // With a single event, the handler runs on that event alone, so its failure names it.
            Err(AttemptError::Ended(_) | AttemptError::Unnamed { .. }) => {
                let doing = "attribute a failure to the only event of a transaction";
                let fault = Fault::plain(FaultKind::Internal, doing);
                return self.wait(pause, &fault).await;
            }
            // If a handler breaks a transaction with a single event, the error is
            // `AttemptError::Handler` and not this one. So no handler ran, and only this worker can
            // have broken the transaction.
            Err(AttemptError::Broken { why }) => {
                let doing = "commit a transaction in which no handler ran";
                let fault = Fault::new(FaultKind::Internal, doing, why);
                return self.wait(pause, &fault).await;
            }
        };
        let cause = failed.failure.cause;
        if cause == FailureCause::TimedOut && self.was_store_unavailable().await {
            let doing = "get an answer from the store within the handler's time limit";
            let fault = Fault::plain(FaultKind::Unavailable, doing);
            // This fault is not counted as a fault of the store. If it were, two handlers that
            // hang would each see the other's fault during their run, and neither would ever be
            // charged with an attempt.
            self.context.wait_uncounted(pause, &fault).await?;
            return Ok(Conclusion::RunAgain);
        }
        if cause == FailureCause::TimedOut && self.was_stopped(pause) {
            let doing = "run a handler, because this process was stopped within its time limit";
            let fault = Fault::plain(FaultKind::Unavailable, doing);
            self.context.wait_uncounted(pause, &fault).await?;
            return Ok(Conclusion::RunAgain);
        }
        match self.settlement(&failed, cause) {
            Settlement::RunAgain(kind) => self.wait(pause, &of_statement(kind)).await,
            Settlement::Defer(DeferReason::ForeignLock) if pause.is_quick(took) => {
                let fault = of_statement(FaultKind::Contention);
                self.context.wait_uncounted(pause, &fault).await?;
                Ok(Conclusion::RunAgain)
            }
            Settlement::Defer(reason) => self.defer(&failed, reason).await,
            Settlement::Record(class, then) => {
                let recorded = record::failure(self.context, &failed, class, then).await?;
                Ok(conclude_record(recorded, then))
            }
        }
    }

    async fn wait(&self, pause: &mut Pause<'_>, fault: &Fault) -> Result<Conclusion, Stopped> {
        self.context.wait(pause, fault).await?;
        Ok(Conclusion::RunAgain)
    }

    async fn defer(
        &self,
        failed: &FailedAttempt,
        reason: DeferReason,
    ) -> Result<Conclusion, Stopped> {
        match record::deferral(self.context, failed, reason).await? {
            Deferred::Recorded => Ok(Conclusion::Settled),
            Deferred::Superseded => Ok(Conclusion::RunAgain),
            // The event has been deferred for longer than allowed, while other events succeeded. So
            // the event is taken for the cause from now on, and this run counts as a failed
            // attempt.
            Deferred::Expired => {
                let cause = FailureCause::Returned(Class::Transient { wish: None });
                match self.settlement(failed, cause) {
                    Settlement::Record(class, then) => {
                        let recorded = record::expired_deferral(self.context, failed, class, then);
                        Ok(conclude_record(recorded.await?, then))
                    }
                    Settlement::RunAgain(_) | Settlement::Defer(_) => Ok(Conclusion::RunAgain),
                }
            }
        }
    }

    fn settlement(&self, failed: &FailedAttempt, cause: FailureCause) -> Settlement {
        match self.work {
            Work::Handle { route, .. } => {
                let attempt = failed.event.attempt_of_round();
                settle(cause, attempt, &route.retry, self.context.inner.rng.unit())
            }
            // No handler runs here, so the only failure that can be found is an orphaned event: an
            // earlier run of its handler ended its own transaction.
            Work::GiveUp { .. } => {
                let reason = DeadReason::Orphaned;
                Settlement::Record(FailureClass::BrokeTransaction, Then::Dead { reason })
            }
        }
    }

    /// Returns whether the store was unavailable at any time since the run began. If so, a handler
    /// that ran over its time limit may only have waited for the store: a connection that loses all
    /// packets reports no error. This function also sends the store a query.
    async fn was_store_unavailable(&self) -> bool {
        let inner = self.context.inner;
        let has_met_faults = || inner.store_faults.load(Ordering::Relaxed) != self.store_faults;
        has_met_faults() || !inner.is_store_available().await || has_met_faults()
    }

    /// Returns whether this process was stopped for a while since the run began. This is no excuse
    /// for the second failure in a row: with a single processor, a handler that blocks its thread
    /// looks like a stop, and would never be charged with an attempt. During a drain it is not
    /// known, because the worker makes no beats.
    fn was_stopped(&self, pause: &Pause<'_>) -> bool {
        let stops = self.context.inner.pulse.beat(Instant::now());
        stops != self.stops && pause.is_first() && self.context.may_start().is_ok()
    }
}

/// Returns what is left to do after a failed attempt was to be recorded.
fn conclude_record(recorded: Recorded, then: Then) -> Conclusion {
    match recorded {
        Recorded::Recorded => Conclusion::Settled,
        // The event has changed since it was claimed; for example, another body of it was
        // committed. So this receipt is claimed again, and the new claim decides what it is.
        Recorded::Superseded => match then {
            Then::Dead {
                reason: DeadReason::Orphaned,
            } => Conclusion::GiveUp,
            Then::Dead { .. } | Then::Retry { .. } => Conclusion::RunAgain,
        },
    }
}
