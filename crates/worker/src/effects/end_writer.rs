//! Records how the calls of a route ended, in the order in which they ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{CallEnd, CallRecorded, CallResult, Store, TargetAnswer};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::flight::EndedCall;
use super::gate::Stop;
use super::route::EffectRoute;
use crate::counters::add;
use crate::intake::SHARED_MAX;
use crate::pause::Stopped;
use crate::record::{self, Attempted};
use crate::route_context::RouteContext;

/// How long the ends of calls are still recorded after a drain was cut short at its deadline. An
/// available store needs milliseconds for that, and each recorded end saves a repetition of the
/// call.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Records how the calls of one route ended. A transaction does not wait for more calls: it records
/// those that ended while the previous transaction was written.
pub(crate) struct EndWriter<S: Store> {
    pub route: Arc<EffectRoute<S>>,
    /// The calls that have ended and are not recorded yet. There are at most as many as the route
    /// has permits.
    pub ended: UnboundedReceiver<EndedCall>,
}

impl<S: Store> EndWriter<S> {
    /// Records how calls ended until all senders are dropped, or until [`LAST_WRITES`] after a
    /// drain was cut short. A call whose end is not recorded by then is made again when its lease
    /// has ended.
    pub async fn run(mut self) {
        let route = Arc::clone(&self.route);
        let (name, cut) = (&route.config().name, &route.inner.cut);
        // A drain waits until the ends of the calls are recorded. So the shutdown does not end a
        // pause of this task; only the cut at the deadline of the drain does.
        let Some(context) = RouteContext::new(&route.inner, name, cut) else {
            return;
        };
        let over = async {
            cut.cancelled().await;
            sleep(LAST_WRITES).await;
        };
        tokio::pin!(over);
        let mut kept = None;
        loop {
            let first = match kept.take() {
                Some(kept) => Some(kept),
                None => self.ended.recv().await,
            };
            let Some(first) = first else { return };
            let batch = self.add_ended(first, &mut kept);
            let stopped = tokio::select! {
                biased;
                written = self.write(&context, batch) => written.is_err(),
                () = &mut over => true,
            };
            if stopped {
                return;
            }
        }
    }

    /// Returns this call with others that have ended by now, up to a full transaction. The events
    /// of a transaction must be distinct. So a second call for one of them, which began after the
    /// lease of the first call had ended, is put into `kept` for the next transaction.
    fn add_ended(&mut self, first: EndedCall, kept: &mut Option<EndedCall>) -> Vec<EndedCall> {
        let mut events = HashSet::from([first.end.event]);
        let mut batch = vec![first];
        while batch.len() < SHARED_MAX {
            match self.ended.try_recv() {
                Ok(next) if events.insert(next.end.event) => batch.push(next),
                Ok(next) => {
                    *kept = Some(next);
                    break;
                }
                Err(_none_has_ended) => break,
            }
        }
        batch
    }

    /// Records how calls ended, and repeats that until it succeeds, also through an outage. Then
    /// gives the permits of the calls back.
    async fn write(
        &self,
        context: &RouteContext<'_, S>,
        batch: Vec<EndedCall>,
    ) -> Result<(), Stopped> {
        let (store, target) = (context.store(), self.route.target());
        let ends: Vec<CallEnd> = batch.iter().map(|call| call.end.clone()).collect();
        let chance = context.inner.rng.unit();
        // The error is noted in this process before it is stored. Once it is stored, the store may
        // refuse further calls, and the first task whose call is refused logs the noted error.
        if let Some(error) = CallEnd::last_target_error(&ends) {
            self.route.note_error(error);
        }
        let write = || {
            crash_point!("effect.before_end");
            store.end_calls(context.route, target, &ends, chance)
        };
        let recorded = context.until_done(write).await?;
        crash_point!("effect.after_end");
        for (call, recorded) in batch.iter().zip(recorded) {
            count(context, call, recorded);
        }
        self.note_answers(context, &ends).await;
        Ok(())
    }

    /// Updates the state of the gate: how these calls ended shows whether the target works.
    async fn note_answers(&self, context: &RouteContext<'_, S>, ends: &[CallEnd]) {
        let is_answered = ends.iter().any(|end| match end.answer {
            TargetAnswer::Answered => true,
            TargetAnswer::Wait(_) | TargetAnswer::Fault | TargetAnswer::Nothing => false,
        });
        if is_answered {
            self.route.answered();
        }
        let may_be_blocked = ends.iter().any(|end| match end.answer {
            TargetAnswer::Fault | TargetAnswer::Wait(_) => true,
            TargetAnswer::Answered | TargetAnswer::Nothing => false,
        });
        if may_be_blocked
            && let Ok(Some(why)) = context.store().blocked(self.route.target()).await
            && let Some(stop) = Stop::of(why)
        {
            self.route.stop(stop);
        }
    }
}

/// Counts the recorded end of a call.
fn count<S: Store>(context: &RouteContext<'_, S>, call: &EndedCall, recorded: CallRecorded) {
    let (counters, end) = (context.counters, &call.end);
    let of = Attempted {
        event: &end.event,
        topic: &call.topic,
        attempt: end.attempt,
    };
    match recorded {
        CallRecorded::Done { .. } => add(&counters.done, 1),
        CallRecorded::Failed(then) => {
            let class = match &end.result {
                CallResult::Failed(failure) => failure.class,
                CallResult::Deferred(deferral) => deferral.expired.class,
                // This does not occur: the store never records a successful call as failed.
                CallResult::Done => return,
            };
            record::count_failure(context, of, class, then);
        }
        CallRecorded::Deferred => {
            if let CallResult::Deferred(deferral) = &end.result {
                let error = end.target_error.as_deref();
                record::count_deferral(context, of, deferral.reason, error);
            }
        }
        CallRecorded::Superseded => {
            add(&counters.superseded, 1);
            tracing::debug!(
                event.id = %end.event,
                route = %context.route,
                epoch = end.epoch,
                "the end of the call with epoch {} for event {} changes nothing: the event has its \
                 outcome already, or a newer call decides",
                end.epoch,
                end.event
            );
        }
    }
}
