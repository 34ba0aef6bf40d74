//! Brings the events of messages that were taken from the queue at the same time to a lease or an
//! outcome, and acknowledges the messages.

use std::sync::Arc;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Deferred, Fault, NoPermit, Recorded, Store};
use hookbox_event::{Envelope, ReceiptId};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, sleep_until};

use super::flight::{self, EndedCall};
use super::gate::{Stop, StopCause};
use super::route::{EffectRoute, Permit};
use super::transaction::{Committed, LeaseTransaction};
use crate::attempt_error::FailedAttempt;
use crate::claimed_event::ClaimedEvent;
use crate::counters::Counted;
use crate::intake::{Contents, Intake};
use crate::pause::{Pause, Stopped};
use crate::record::{self, DeferralWait};
use crate::route_context::RouteContext;
use crate::settle::{Settlement, settle};
use crate::settle_messages::settle_messages;
use crate::time_limits::WAITS_FOR_LEASES;

/// The first wait after the store has refused leases because other workers' calls are in flight.
/// This time is about as long as a fast call takes. The wait doubles with each further refusal.
const BUSY_FIRST: Duration = Duration::from_millis(50);

/// The longest wait after the store has refused leases in this way ([`BUSY_FIRST`]). A call that
/// has become possible may be delayed by about this time.
const BUSY_LONGEST: Duration = Duration::from_secs(2);

/// How often in a row the events of a busy key are refused a lease before they are deferred. The
/// waits double from [`BUSY_FIRST`] on, so by then the events have waited in memory for most of a
/// second. Most calls take less. But a slow call, or the lease of a process that died, may keep the
/// key busy for minutes. Events that wait in memory occupy one of the route's transactions, which
/// events of other keys need.
const BUSY_KEY_REFUSALS: u32 = 4;

/// The longest wait of an event that is deferred because no calls may be made to its target. The
/// event waits longer only if it is known that the target must not be called for a longer time.
const DEFERRED_MOST: Duration = Duration::from_secs(60);

/// The operation that a fault names when it occurs while the payload of an event is made.
const PAYLOAD: &str = "make the payload of an event";

/// Messages that were taken from the queue at the same time.
pub(crate) struct EffectProcess<'a, S: Store> {
    pub context: &'a RouteContext<'a, S>,
    pub route: &'a Arc<EffectRoute<S>>,
    /// Where the ends of calls are sent.
    pub ends: &'a UnboundedSender<EndedCall>,
}

/// What is done next with the events of the messages.
enum Admission {
    /// As many events as there are permits may be leased.
    Lease,
    /// No event may be leased, so the events are deferred.
    Defer(Stop),
}

/// The events of the messages that have neither a lease nor an outcome yet, with the permits for
/// their calls.
struct Waiting<'e> {
    left: Vec<&'e Envelope>,
    permits: Vec<Permit>,
    /// The time at which the messages are released, if some events still have no lease and no
    /// outcome.
    until: Instant,
    /// How often in a row no event was leased because other calls are in flight.
    refusals: u32,
}

impl<S: Store> EffectProcess<'_, S> {
    /// Brings the events to a lease or an outcome, and acknowledges the messages. If a shutdown
    /// comes before that, or if the events wait for too long, the messages are released instead.
    /// `permits` are used for the first calls.
    pub async fn run(&self, intake: Intake, permits: Vec<Permit>) {
        let Intake {
            deliveries,
            contents,
        } = intake;
        crash_point!("worker.after_delivery");
        let receipts = contents.envelopes.len() + contents.undecodable.len();
        let _in_flight = Counted::new(&self.context.counters.in_flight, receipts as u64);
        let finished = self.run_contents(&contents, permits).await;
        settle_messages(self.context, deliveries, finished).await;
    }

    async fn run_contents(&self, contents: &Contents, permits: Vec<Permit>) -> Result<(), Stopped> {
        for undecodable in &contents.undecodable {
            record::undecodable(self.context, undecodable).await?;
        }
        let mut waiting = Waiting {
            left: Vec::new(),
            permits,
            until: Instant::now() + WAITS_FOR_LEASES,
            refusals: 0,
        };
        for round in contents.rounds() {
            waiting.left = round;
            self.run_round(&mut waiting).await?;
        }
        Ok(())
    }

    /// Brings distinct events to a lease or an outcome: as many at a time as there are permits for
    /// their calls.
    async fn run_round(&self, waiting: &mut Waiting<'_>) -> Result<(), Stopped> {
        let mut pause = self.context.pause();
        while !waiting.left.is_empty() {
            self.context.may_start()?;
            let admission = self.admit(waiting).await?;
            let (count, may_lease) = match &admission {
                Admission::Lease => (waiting.permits.len(), true),
                Admission::Defer(_) => (waiting.left.len(), false),
            };
            let chunk: Vec<&Envelope> = waiting.left.iter().take(count).copied().collect();
            let transaction = LeaseTransaction {
                context: self.context,
                route: self.route,
                may_lease,
            };
            let committed = match transaction.run(&chunk).await {
                Ok(committed) => committed,
                Err(fault) => {
                    self.context.wait(&mut pause, &fault).await?;
                    continue;
                }
            };
            pause.over();
            let stop = match admission {
                Admission::Lease => committed.why.and_then(Stop::of),
                Admission::Defer(stop) => Some(stop),
            };
            // Events of a busy key wait for the end of another call, as those of a busy target do.
            let busy = (!committed.busy.is_empty()).then_some(NoPermit::Busy);
            let why = committed.why.or(busy);
            if why.is_none() || !committed.leased.is_empty() {
                waiting.refusals = 0;
            }
            let left = self.conclude(committed, stop, waiting, &mut pause).await?;
            let stays = |it: &&Envelope| left.contains(&it.receipt) || !is_in(it, &chunk);
            waiting.left.retain(stays);
            // Events that could not be leased now, for example because their key is busy, come
            // after the others.
            waiting.left.sort_by_key(|it| left.contains(&it.receipt));
            waiting.permits.truncate(waiting.left.len());
            if let (Some(why), None, false) = (why, stop, left.is_empty()) {
                self.wait_for_target(why, waiting).await?;
            }
        }
        Ok(())
    }

    /// Waits until events may be leased or must be deferred.
    async fn admit(&self, waiting: &mut Waiting<'_>) -> Result<Admission, Stopped> {
        let _waits = Counted::new(&self.context.counters.target_waits, 1);
        let Waiting {
            left,
            permits,
            until,
            ..
        } = waiting;
        let free = async {
            if permits.is_empty() {
                // An error means that the semaphore is closed, which never happens.
                let permit = Arc::clone(&self.route.permits).acquire_owned().await;
                permits.extend(permit);
            }
        };
        tokio::select! {
            biased;
            () = self.context.shutdown.cancelled() => return Err(Stopped),
            stop = self.route.gate.stopped() => return Ok(Admission::Defer(stop)),
            () = free => {}
            () = sleep_until(*until) => return Err(Stopped),
        }
        self.route.add_permits(permits, left.len());
        Ok(Admission::Lease)
    }

    /// Does what remains to be done after a transaction: starts calls, and records failures and
    /// deferrals. Returns the receipts of the events that have neither a lease nor an outcome then.
    async fn conclude(
        &self,
        committed: Committed,
        stop: Option<Stop>,
        waiting: &mut Waiting<'_>,
        pause: &mut Pause<'_>,
    ) -> Result<Vec<ReceiptId>, Stopped> {
        for leased in committed.leased {
            if let Some(permit) = waiting.permits.pop() {
                flight::start(self.route, leased, permit, self.ends);
            }
        }
        let mut left = Vec::new();
        for failed in &committed.failed {
            if !self.record_failed(failed, pause).await? {
                left.push(failed.event.envelope.receipt);
            }
        }
        if let Some(stop) = stop {
            self.route.stop(stop);
        }
        self.defer_all(&committed.refused, stop, &mut left).await?;
        let is_long = waiting.refusals >= BUSY_KEY_REFUSALS;
        let stop = stop.or_else(|| is_long.then(Stop::of_key));
        self.defer_all(&committed.busy, stop, &mut left).await?;
        Ok(left)
    }

    /// Defers events if there is a stop. Adds the receipts of those that are not deferred to
    /// `left`.
    async fn defer_all(
        &self,
        events: &[ClaimedEvent],
        stop: Option<Stop>,
        left: &mut Vec<ReceiptId>,
    ) -> Result<(), Stopped> {
        for event in events {
            let is_settled = match stop {
                Some(stop) => self.defer(event, stop).await?,
                None => false,
            };
            if !is_settled {
                left.push(event.envelope.receipt);
            }
        }
        Ok(())
    }

    /// Records the failure of an event for which no call can be made. Returns whether the event has
    /// its outcome now.
    async fn record_failed(
        &self,
        failed: &FailedAttempt,
        pause: &mut Pause<'_>,
    ) -> Result<bool, Stopped> {
        let (context, retry) = (self.context, &self.route.config().retry);
        let (cause, attempt) = (failed.failure.cause, failed.event.attempt_of_round());
        match settle(cause, attempt, retry, context.inner.rng.unit()) {
            Settlement::Record(class, then) => {
                let recorded = record::failure(context, failed, class, then).await?;
                Ok(recorded == Recorded::Recorded)
            }
            Settlement::Defer(reason) => {
                let deferred = record::deferral(context, failed, reason).await?;
                Ok(deferred == Deferred::Recorded)
            }
            Settlement::RunAgain(kind) => {
                // The payload of one event may fail in this way for ever.
                let fault = Fault::plain(kind, PAYLOAD).local();
                context.wait(pause, &fault).await?;
                Ok(false)
            }
        }
    }

    /// Defers an event until a call may be made for it again. Returns whether the event is
    /// deferred; if not, its state has changed since it was claimed.
    async fn defer(&self, event: &ClaimedEvent, stop: Stop) -> Result<bool, Stopped> {
        let blocked = stop.until.saturating_duration_since(Instant::now());
        let least = blocked.max(BUSY_LONGEST);
        let wait = DeferralWait {
            // The jitter spreads the calls that are due when the target may be called again.
            least: least.mul_f64(1.0 + 0.5 * self.context.inner.rng.unit()),
            most: DEFERRED_MOST,
            // No call was made, so the event cannot be the cause, and may be deferred without
            // limit.
            age_max: None,
        };
        let error = match stop.cause {
            StopCause::Fault | StopCause::Pause => self.route.last_error(),
            StopCause::Limit => None,
        };
        let (context, reason) = (self.context, stop.reason);
        let deferred = record::put_off(context, event, reason, wait, error.as_deref()).await?;
        Ok(deferred == Deferred::Recorded)
    }

    /// Waits after leases were refused. Other messages may use the permits meanwhile.
    async fn wait_for_target(
        &self,
        why: NoPermit,
        waiting: &mut Waiting<'_>,
    ) -> Result<(), Stopped> {
        waiting.permits.clear();
        let _waits = Counted::new(&self.context.counters.target_waits, 1);
        let doubled = BUSY_FIRST.saturating_mul(1 << waiting.refusals.min(10));
        let busy = doubled
            .min(BUSY_LONGEST)
            .mul_f64(0.5 + self.context.inner.rng.unit());
        let wait = match why {
            NoPermit::Busy => {
                waiting.refusals += 1;
                busy
            }
            NoPermit::Rate(wait) | NoPermit::Wait(wait) | NoPermit::Open(wait) => wait,
        };
        tokio::select! {
            biased;
            () = self.context.shutdown.cancelled() => Err(Stopped),
            _stop = self.route.gate.stopped() => Ok(()),
            () = sleep(wait) => Ok(()),
            () = sleep_until(waiting.until) => Err(Stopped),
        }
    }
}

fn is_in(envelope: &Envelope, chunk: &[&Envelope]) -> bool {
    chunk.iter().any(|it| it.receipt == envelope.receipt)
}
