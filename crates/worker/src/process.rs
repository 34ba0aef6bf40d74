//! Messages in hand to their outcomes: together first, one by one after a failure, then the ack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{
    Burial, DeadReason, Delivery, Failure, FailureClass, Fault, FaultKind, Recorded, Rng, Store,
    Then, describe,
};
use hookbox_event::{Envelope, InstanceId, RouteName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::attempt::{Attempt, EventTrouble, Trouble, Work};
use crate::counters::{RouteCounters, add};
use crate::intake::{Contents, Intake};
use crate::pause::{After, Pause};
use crate::settle::{Ended, Settlement, settle};
use crate::suspects::{Begun, Company};

/// A store that is there answers in milliseconds; one that takes so long was away when asked.
const PING_MAX: Duration = Duration::from_millis(500);

/// Everything that working on one queue needs.
pub(crate) struct Process<'a, S: Store> {
    pub store: &'a S,
    pub config: &'a Config<S>,
    pub route: &'a RouteName,
    pub counters: &'a RouteCounters,
    pub work: Work<'a, S>,
    pub company: &'a Company,
    /// Starts that this process has counted.
    pub begun: &'a Begun,
    /// This process, among all that ever count a start.
    pub id: &'a InstanceId,
    /// Faults of the store that any part of this worker has met.
    pub store_faults: &'a AtomicU64,
    pub rng: &'a Arc<dyn Rng>,
    pub shutdown: &'a CancellationToken,
}

/// What a store keeps in a transaction of its own.
enum Record<'a> {
    Burial(Burial<'a>),
    Failure(Failure<'a>),
}

/// What one run of one event came to.
pub(crate) enum Ran {
    /// The event has its outcome.
    Well,
    /// A fault of our own.
    Fault(Fault),
    /// The handler ran over its time limit while the store was away.
    HeldUp(Fault),
    /// The handler failed: this is to be recorded.
    Failed(Box<EventTrouble>, FailureClass, Then),
}

/// Whether another run has to come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    Over,
    Again,
}

/// Work was stopped by shutdown before it had its outcome.
pub(crate) struct Stopped;

impl<S: Store> Process<'_, S> {
    /// Takes messages to their outcomes and acknowledges them. When a shutdown comes while a
    /// dependency is away, they are released instead: nothing is spent, redelivery goes on.
    pub async fn run(&self, intake: Intake) {
        let Intake {
            deliveries,
            contents,
        } = intake;
        crash_point!("worker.after_delivery");
        let finished = self.outcomes(&contents).await;
        for delivery in deliveries {
            crash_point!("worker.before_ack");
            let settled = match finished {
                Ok(()) => delivery.ack().await,
                Err(Stopped) => Delivery::release(delivery).await,
            };
            if let Err(fault) = settled {
                // It will come again, and then it has its outcome already.
                tracing::info!(
                    route = %self.route,
                    error = describe(&fault),
                    "a message of route {} could not be settled and will come again",
                    self.route
                );
            }
            crash_point!("worker.after_ack");
        }
    }

    async fn outcomes(&self, contents: &Contents) -> Result<(), Stopped> {
        for undecodable in &contents.undecodable {
            let detail = format!("not an envelope: {}", undecodable.why);
            let reason = DeadReason::Undecodable;
            let bytes = &undecodable.bytes;
            let burial = Burial {
                route: self.route,
                bytes,
                reason,
                detail,
            };
            self.write(Record::Burial(burial)).await?;
            add(&self.counters.dead, 1);
            tracing::error!(
                route = %self.route,
                bytes = bytes.len(),
                "bytes that are not an envelope came out of the queue of route {}; they are kept \
                 as a dead letter",
                self.route
            );
        }
        for round in contents.rounds() {
            self.round(&round, &contents.again).await?;
        }
        Ok(())
    }

    /// One transaction for all, and when one of them spoils it, one for each.
    pub async fn together(&self, envelopes: &[&Envelope]) -> Result<(), Stopped> {
        match envelopes {
            [] => Ok(()),
            [envelope] => self.alone(envelope).await,
            several => {
                let mut pause = self.pause();
                loop {
                    match self.attempt().run(several).await {
                        Ok(()) => {
                            pause.over();
                            return Ok(());
                        }
                        Err(Trouble::Fault(fault)) => self.wait(&mut pause, &fault).await?,
                        Err(Trouble::Event(trouble)) => match trouble.failed.ended {
                            Ended::Fault(kind) => {
                                let fault = Fault::plain(kind, "run a handler's statement");
                                self.wait(&mut pause, &fault).await?;
                            }
                            // What it did stands: recorded before it could run again.
                            Ended::Orphaned => {
                                self.orphan(trouble, &mut pause).await?;
                                break;
                            }
                            Ended::Failed(_)
                            | Ended::Panicked
                            | Ended::TimedOut
                            | Ended::BrokeTransaction => break,
                        },
                        Err(Trouble::Broken { .. }) => break,
                    }
                }
                for envelope in several {
                    self.alone(envelope).await?;
                }
                Ok(())
            }
        }
    }

    /// Records the one event of a shared transaction whose handler has ended it. The others run
    /// by themselves then: what was claimed with a commit is found orphaned, what was rolled back
    /// is free again.
    async fn orphan(&self, of: Box<EventTrouble>, pause: &mut Pause<'_>) -> Result<(), Stopped> {
        let reason = DeadReason::Orphaned;
        let ran = Ran::Failed(of, FailureClass::BrokeTransaction, Then::Dead { reason });
        self.follow(ran, pause).await.map(drop)
    }

    /// One event in its own transaction, until it has an outcome.
    async fn alone(&self, envelope: &Envelope) -> Result<(), Stopped> {
        let mut pause = self.pause();
        loop {
            let ran = self.once(envelope).await;
            if self.follow(ran, &mut pause).await? == Followed::Over {
                return Ok(());
            }
        }
    }

    /// One event in its own transaction, once: no longer than the store's deadlines and the
    /// handler's time limit.
    pub async fn once(&self, envelope: &Envelope) -> Ran {
        let faults = self.store_faults.load(Ordering::Relaxed);
        let trouble = match self.attempt().run(&[envelope]).await {
            Ok(()) => return Ran::Well,
            Err(Trouble::Fault(fault)) => return Ran::Fault(fault),
            Err(Trouble::Event(trouble)) => trouble,
            // Alone, a broken transaction comes back as the trouble of its one event; with no
            // handler run, nobody but us can have broken it.
            Err(Trouble::Broken { why }) => {
                let doing = "commit without a handler";
                return Ran::Fault(Fault::new(FaultKind::Internal, doing, why));
            }
        };
        if trouble.failed.ended == Ended::TimedOut && self.was_store_away(faults).await {
            let doing = "hear from the store within the handler's time limit";
            return Ran::HeldUp(Fault::plain(FaultKind::Unavailable, doing));
        }
        let round = trouble.attempt.saturating_sub(trouble.attempts_before);
        let settlement = match self.work {
            Work::Handle(route) => {
                settle(trouble.failed.ended, round, &route.retry, self.rng.unit())
            }
            // No handler runs here, so all that can be found is an orphan.
            Work::GiveUp { .. } => Settlement::Record(
                FailureClass::BrokeTransaction,
                Then::Dead {
                    reason: DeadReason::Orphaned,
                },
            ),
        };
        match settlement {
            Settlement::Again(kind) => Ran::Fault(Fault::plain(kind, "run a handler's statement")),
            Settlement::Record(class, then) => Ran::Failed(trouble, class, then),
        }
    }

    /// What has to follow a run before there is another.
    pub async fn follow(&self, ran: Ran, pause: &mut Pause<'_>) -> Result<Followed, Stopped> {
        match ran {
            Ran::Well => {
                pause.over();
                return Ok(Followed::Over);
            }
            Ran::Fault(fault) => self.wait(pause, &fault).await?,
            // Not counted as a fault that was met: two handlers that hang would excuse each other
            // for ever.
            Ran::HeldUp(fault) => self.pause_for(pause, &fault).await?,
            Ran::Failed(trouble, class, then) => {
                match self.record(&trouble, class, then).await? {
                    Recorded::Recorded => return Ok(Followed::Over),
                    // The event has moved on since it was claimed (another body of it, say, was
                    // committed meanwhile): what this receipt is now, a new claim tells.
                    Recorded::Superseded => {}
                }
            }
        }
        Ok(Followed::Again)
    }

    /// Whether the store was away since so many faults: a handler that ran over its time limit
    /// meanwhile may have waited for nothing else, and a link that loses everything does not tell.
    /// One that is back while it is asked was away as well, and answers late.
    async fn was_store_away(&self, faults: u64) -> bool {
        let has_met_faults = || self.store_faults.load(Ordering::Relaxed) != faults;
        let asked = Instant::now();
        has_met_faults()
            || self.store.ping().await.is_err()
            || asked.elapsed() > PING_MAX
            || has_met_faults()
    }

    async fn record(
        &self,
        trouble: &EventTrouble,
        class: FailureClass,
        then: Then,
    ) -> Result<Recorded, Stopped> {
        let envelope = &trouble.envelope;
        let failure = Failure {
            route: self.route,
            envelope,
            attempt: trouble.attempt,
            attempts_before: trouble.attempts_before,
            class,
            error: trouble.failed.error.clone(),
            took: trouble.took,
            then,
        };
        if self.write(Record::Failure(failure)).await? == Recorded::Superseded {
            return Ok(Recorded::Superseded);
        }
        match then {
            Then::Retry { after } => {
                add(&self.counters.retrying, 1);
                tracing::info!(
                    event.id = %envelope.event,
                    event.topic = %envelope.topic,
                    route = %self.route,
                    attempt = trouble.attempt,
                    class = class.as_str(),
                    after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                    "attempt {} on event {} failed ({}); it will be tried again",
                    trouble.attempt,
                    envelope.event,
                    class.as_str()
                );
            }
            Then::Dead { reason } => {
                add(&self.counters.dead, 1);
                tracing::warn!(
                    event.id = %envelope.event,
                    event.topic = %envelope.topic,
                    route = %self.route,
                    attempt = trouble.attempt,
                    class = class.as_str(),
                    reason = reason.as_str(),
                    "event {} is a dead letter of route {} ({}) after {} attempts; see \
                     `hookbox dead list`",
                    envelope.event,
                    self.route,
                    reason.as_str(),
                    trouble.attempt
                );
            }
        }
        Ok(Recorded::Recorded)
    }

    /// Writes a record that must be written, through every outage.
    async fn write(&self, record: Record<'_>) -> Result<Recorded, Stopped> {
        let mut pause = self.pause();
        loop {
            crash_point!("worker.before_record");
            let written = match &record {
                Record::Burial(burial) => self.store.bury(burial).await,
                Record::Failure(failure) => self.store.fail(failure).await,
            };
            match written {
                Ok(recorded) => {
                    crash_point!("worker.after_record");
                    pause.over();
                    return Ok(recorded);
                }
                Err(fault) => self.wait(&mut pause, &fault).await?,
            }
        }
    }

    pub async fn wait(&self, pause: &mut Pause<'_>, fault: &Fault) -> Result<(), Stopped> {
        match fault.kind() {
            FaultKind::Unavailable => add(self.store_faults, 1),
            // It answers.
            FaultKind::Contention | FaultKind::Internal => {}
        }
        self.pause_for(pause, fault).await
    }

    async fn pause_for(&self, pause: &mut Pause<'_>, fault: &Fault) -> Result<(), Stopped> {
        add(&self.counters.faults, 1);
        match pause.after(fault).await {
            After::Again => Ok(()),
            After::ShutDown => Err(Stopped),
        }
    }

    fn attempt(&self) -> Attempt<'_, S> {
        Attempt {
            store: self.store,
            config: self.config,
            route: self.route,
            counters: self.counters,
            work: self.work,
        }
    }

    pub fn pause(&self) -> Pause<'_> {
        Pause::new(
            self.route.as_str(),
            &self.counters.paused,
            self.rng,
            self.shutdown,
        )
    }
}
