//! Messages in hand to their outcomes: together first, one by one after a failure, then the ack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{
    Burial, DeadReason, DeferReason, Deferred, Delivery, FailureClass, Fault, FaultKind, Recorded,
    Rng, Store, Then, describe,
};
use hookbox_event::{Envelope, InstanceId, RouteName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::attempt::{Attempt, EventTrouble, Trouble, Work};
use crate::begun::Begun;
use crate::counters::{Counted, Counters, RouteCounters, add};
use crate::error::Class;
use crate::intake::{Contents, Intake};
use crate::isolation::Isolation;
use crate::pause::{After, Pause};
use crate::record::Record;
use crate::run::Slot;
use crate::settle::{Ended, Settlement, settle};

/// A store that is there answers in milliseconds; one that takes so long was away when asked.
const PING_MAX: Duration = Duration::from_millis(500);

/// Everything that working on one queue needs.
pub(crate) struct Process<'a, S: Store> {
    pub store: &'a S,
    pub config: &'a Config<S>,
    pub route: &'a RouteName,
    pub counters: &'a RouteCounters,
    /// Those of all routes of this process.
    pub all_counters: &'a Counters,
    /// The place among the route's transactions that this work has.
    pub slot: &'a Slot,
    pub work: Work<'a, S>,
    pub isolation: &'a Isolation,
    /// Starts that this process has counted.
    pub begun: &'a Begun,
    /// This process, among all that ever count a start.
    pub id: &'a InstanceId,
    /// Faults of the store that any part of this worker has met.
    pub store_faults: &'a AtomicU64,
    pub rng: &'a Arc<dyn Rng>,
    pub shutdown: &'a CancellationToken,
}

/// What one run of one event came to.
pub(crate) enum Ran {
    /// The event has its outcome.
    Well,
    /// A fault of our own.
    Fault(Fault),
    /// The handler ran over its time limit while the store was away.
    HeldUp(Fault),
    /// The handler did not get what it needs, and the event is not to pay for it.
    Blocked(Box<EventTrouble>, DeferReason),
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
        let receipts = contents.envelopes.len() + contents.undecodable.len();
        let _in_flight = Counted::new(&self.counters.in_flight, receipts as u64);
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
                if self.shared(several).await? {
                    return Ok(());
                }
                self.one_by_one(several).await
            }
        }
    }

    /// Records the one event of a shared transaction whose handler has ended it. The others run
    /// by themselves then: what was claimed with a commit is found orphaned, what was rolled back
    /// is free again.
    async fn orphan(&self, of: Box<EventTrouble>, pause: &mut Pause<'_>) -> Result<(), Stopped> {
        let took = of.took;
        let reason = DeadReason::Orphaned;
        let ran = Ran::Failed(of, FailureClass::BrokeTransaction, Then::Dead { reason });
        self.follow(ran, took, pause).await.map(drop)
    }

    /// Several events in one transaction. False when it is one of them that keeps the others from
    /// their outcome: by its failure, or by a lock that another session holds.
    async fn shared(&self, several: &[&Envelope]) -> Result<bool, Stopped> {
        let mut pause = self.pause();
        loop {
            if self.counters.rights.missing().is_some() {
                // One at a time is tried.
                return Ok(false);
            }
            let began = Instant::now();
            let fault = match self.attempt().run(several).await {
                Ok(()) => {
                    pause.over();
                    return Ok(true);
                }
                Err(Trouble::Fault(fault)) => fault,
                Err(Trouble::Event(trouble)) => match trouble.failed.ended {
                    Ended::Fault(kind) => Fault::plain(kind, "run a handler's statement"),
                    Ended::Failed(_)
                    | Ended::Panicked
                    | Ended::TimedOut
                    | Ended::BrokeTransaction => return Ok(false),
                    // What it did stands: recorded before it could run again.
                    Ended::Orphaned => {
                        self.orphan(trouble, &mut pause).await?;
                        return Ok(false);
                    }
                },
                Err(Trouble::Broken { .. }) => return Ok(false),
            };
            let separates = match fault.kind() {
                FaultKind::Contention => !pause.is_quick(began.elapsed()),
                FaultKind::MissingRight => true,
                FaultKind::Unavailable | FaultKind::Internal => false,
            };
            if separates {
                return Ok(false);
            }
            self.wait(&mut pause, &fault).await?;
        }
    }

    /// Each event in its own transaction. One that has to be run again waits behind the others.
    async fn one_by_one(&self, several: &[&Envelope]) -> Result<(), Stopped> {
        let mut waiting = Vec::with_capacity(several.len());
        for envelope in several {
            waiting.push((*envelope, self.pause()));
        }
        while !waiting.is_empty() {
            let mut again = Vec::new();
            for (envelope, mut pause) in waiting {
                if self.step(envelope, &mut pause).await? == Followed::Again {
                    again.push((envelope, pause));
                }
            }
            waiting = again;
        }
        Ok(())
    }

    /// One event in its own transaction, until it has an outcome.
    async fn alone(&self, envelope: &Envelope) -> Result<(), Stopped> {
        let mut pause = self.pause();
        while self.step(envelope, &mut pause).await? == Followed::Again {}
        Ok(())
    }

    /// One run of one event, and what has to follow it.
    async fn step(&self, envelope: &Envelope, pause: &mut Pause<'_>) -> Result<Followed, Stopped> {
        let _probe = match self.work {
            Work::Handle(_) => self.counters.rights.admit(self.shutdown).await?,
            Work::GiveUp { .. } => None,
        };
        let began = Instant::now();
        let ran = self.once(envelope).await;
        self.follow(ran, began.elapsed(), pause).await
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
            Settlement::Defer(reason) => Ran::Blocked(trouble, reason),
            Settlement::Record(class, then) => Ran::Failed(trouble, class, then),
        }
    }

    /// What has to follow a run before there is another.
    pub async fn follow(
        &self,
        ran: Ran,
        took: Duration,
        pause: &mut Pause<'_>,
    ) -> Result<Followed, Stopped> {
        match ran {
            Ran::Well => {
                pause.over();
                return Ok(Followed::Over);
            }
            Ran::Fault(fault) => self.wait(pause, &fault).await?,
            // Not counted as a fault that was met: two handlers that hang would excuse each other
            // for ever.
            Ran::HeldUp(fault) => self.pause_for(pause, &fault).await?,
            Ran::Blocked(trouble, reason) => {
                if reason == DeferReason::ForeignLock && pause.is_quick(took) {
                    let doing = "run a handler's statement";
                    let fault = Fault::plain(FaultKind::Contention, doing);
                    self.pause_for(pause, &fault).await?;
                    return Ok(Followed::Again);
                }
                match self.put_off(&trouble, reason).await? {
                    Deferred::Recorded => return Ok(Followed::Over),
                    Deferred::Superseded => {}
                    Deferred::Expired => return self.expire(&trouble).await,
                }
            }
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

    /// An event was put off for longer than it may be, while others succeeded: from now on it is
    /// its own fault, and this was an attempt.
    async fn expire(&self, trouble: &EventTrouble) -> Result<Followed, Stopped> {
        let Work::Handle(route) = self.work else {
            return Ok(Followed::Again);
        };
        let round = trouble.attempt.saturating_sub(trouble.attempts_before);
        let ended = Ended::Failed(Class::Transient { wish: None });
        match settle(ended, round, &route.retry, self.rng.unit()) {
            Settlement::Record(class, then) => match self.record(trouble, class, then).await? {
                Recorded::Recorded => Ok(Followed::Over),
                Recorded::Superseded => Ok(Followed::Again),
            },
            Settlement::Again(_) | Settlement::Defer(_) => Ok(Followed::Again),
        }
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

    pub async fn wait(&self, pause: &mut Pause<'_>, fault: &Fault) -> Result<(), Stopped> {
        match fault.kind() {
            FaultKind::Unavailable => add(self.store_faults, 1),
            // It answers.
            FaultKind::Contention | FaultKind::MissingRight | FaultKind::Internal => {}
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
