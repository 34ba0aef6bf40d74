//! Poison: an event whose handler takes the whole process with it.
//!
//! A handler that aborts, overflows its stack or eats the machine's memory leaves nobody behind
//! to record a failure, and the event comes again, and so do its neighbours: everything that was
//! in hand. So starts are counted before the handler runs, of events that come again only, and
//! forgotten as soon as the process has survived the attempt. Whoever has a count left over was
//! in hand when a process died: a suspect. A suspect runs alone in its process, so that the
//! next death, if there is one, is its own; an innocent one is cleared by its first run. Whatever
//! was started [`STARTS_MAX`] times is quarantined: a dead letter, and its handler does not run.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hookbox_driver::{Claimed, DeadReason, Fault, FaultKind, Start, Store};
use hookbox_event::{Envelope, RouteName};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::time::{Instant, sleep, timeout};

use crate::OnConflict;
use crate::attempt::Work;
use crate::counters::add;
use crate::process::{Followed, Process, Ran, Stopped};

/// How many starts without an end are enough. The first may be a neighbour's fault; a deploy that
/// kills, an operator and the machine itself may each take one more. With the first delivery,
/// which is not counted, the process has died six times by then, four of them with nothing else
/// in hand.
const STARTS_MAX: u32 = 5;

/// How long a suspect stands in the others' way until they have ended, and then they in its own.
const ALONE_WAIT: Duration = Duration::from_secs(5);

/// What an operator should know of one.
const DETAIL: &str = "each of the last 5 times that its handler was started, the process did not \
                      survive it: an abort, a stack overflow, or not enough memory";

/// Who may run a handler beside whom, in one process.
pub(crate) type Company = RwLock<()>;

/// The starts that this process has counted, and not forgotten again. One that ends of its own
/// will while it has some has survived them: its end is no death.
#[derive(Default)]
pub(crate) struct Begun {
    starts: Mutex<HashMap<RouteName, HashSet<Start>>>,
}

impl Begun {
    fn add(&self, route: &RouteName, starts: &[Start]) {
        self.of_route(route, |begun| begun.extend(starts));
    }

    pub fn forget(&self, route: &RouteName, starts: &[Start]) {
        self.of_route(route, |begun| begun.retain(|start| !starts.contains(start)));
    }

    /// Those of these that were counted here.
    fn among(&self, route: &RouteName, starts: &[Start]) -> Vec<Start> {
        self.of_route(route, |begun| {
            let counted = starts.iter().filter(|start| begun.contains(start));
            counted.copied().collect()
        })
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<(RouteName, Vec<Start>)> {
        let held = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<(RouteName, Vec<Start>)> = held
            .iter()
            .filter(|(_, starts)| !starts.is_empty())
            .map(|(route, starts)| (route.clone(), starts.iter().copied().collect()))
            .collect();
        for (_, starts) in &mut all {
            starts.sort_by_key(|start| (*start.receipt.as_bytes(), start.attempt));
        }
        all.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        all
    }

    fn of_route<T>(&self, route: &RouteName, change: impl FnOnce(&mut HashSet<Start>) -> T) -> T {
        let mut held = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        change(held.entry(route.clone()).or_default())
    }
}

/// What to do with counts.
#[derive(Clone, Copy)]
enum Counts {
    Look,
    Start,
    Survived,
}

impl<S: Store> Process<'_, S> {
    /// One round of distinct events. Those that are suspects run alone, after the others.
    pub(crate) async fn round(
        &self,
        envelopes: &[&Envelope],
        again: &HashSet<Start>,
    ) -> Result<(), Stopped> {
        let handles = match self.work {
            Work::Handle(_) => true,
            Work::GiveUp { .. } => false,
        };
        let came_again = |envelope: &&&Envelope| handles && again.contains(&Start::of(envelope));
        let counted: Vec<Start> = envelopes
            .iter()
            .filter(came_again)
            .map(|envelope| Start::of(envelope))
            .collect();
        if counted.is_empty() {
            return self.in_company(envelopes, &counted).await;
        }
        let starts = self.counts(Counts::Look, &counted).await?;
        let starts: HashMap<Start, u32> = counted.iter().copied().zip(starts).collect();
        let starts_of =
            |envelope: &Envelope| starts.get(&Start::of(envelope)).copied().unwrap_or(0);
        let (suspects, others): (Vec<&Envelope>, Vec<&Envelope>) = envelopes
            .iter()
            .partition(|envelope| starts_of(envelope) > 0);
        let mut counted = counted;
        counted.retain(|start| others.iter().any(|other| Start::of(other) == *start));
        self.in_company(&others, &counted).await?;
        for suspect in suspects {
            self.suspect(suspect, starts_of(suspect)).await?;
        }
        Ok(())
    }

    /// Beside whatever else runs in this process.
    async fn in_company(&self, envelopes: &[&Envelope], counted: &[Start]) -> Result<(), Stopped> {
        let _beside_others = tokio::select! {
            biased;
            guard = self.company.read() => guard,
            () = self.shutdown.cancelled() => return Err(Stopped),
        };
        self.counted(envelopes, counted).await
    }

    /// With nothing else running in this process, or not at all.
    async fn suspect(&self, envelope: &Envelope, starts: u32) -> Result<(), Stopped> {
        let ended = self.exclusively(envelope, starts).await;
        self.survived(&[Start::of(envelope)], ended).await
    }

    /// Until it has its outcome. The others of this process stop for it, so they stop for one run
    /// at a time, and have at least as long for themselves before the next: what keeps one event
    /// from its outcome, be it for hours, never keeps the others from theirs.
    async fn exclusively(&self, envelope: &Envelope, starts: u32) -> Result<(), Stopped> {
        let mut pause = self.pause();
        let (mut told, mut counted) = (false, false);
        loop {
            // Whoever has it in hand elsewhere is waited for beside the others.
            let runs = self.would_run(envelope).await?;
            if runs && starts >= STARTS_MAX {
                return self.quarantine(envelope, starts).await;
            }
            if runs && !std::mem::replace(&mut told, true) {
                add(&self.counters.suspects, 1);
                tracing::warn!(
                    event.id = %envelope.event,
                    event.topic = %envelope.topic,
                    route = %self.route,
                    starts,
                    "a process died while it had event {} in hand; its handler runs alone now",
                    envelope.event
                );
            }
            let (ran, held) = {
                let Some(_alone) = self.alone_in_time().await? else {
                    continue;
                };
                let began = Instant::now();
                (
                    self.once_alone(envelope, &mut counted).await,
                    began.elapsed(),
                )
            };
            if self.follow(ran, &mut pause).await? == Followed::Over {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Err(Stopped),
                () = sleep(held) => {}
            }
        }
    }

    /// Waits until nothing else runs in this process, and steps back where that takes long: behind
    /// one who waits for this nobody else begins, and what runs may itself be held up for hours.
    async fn alone_in_time(&self) -> Result<Option<RwLockWriteGuard<'_, ()>>, Stopped> {
        let alone = tokio::select! {
            biased;
            alone = timeout(ALONE_WAIT, self.company.write()) => alone,
            () = self.shutdown.cancelled() => return Err(Stopped),
        };
        if let Ok(alone) = alone {
            return Ok(Some(alone));
        }
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Stopped),
            () = sleep(ALONE_WAIT) => Ok(None),
        }
    }

    /// Counts a start, where the handler would run now, and runs it. One is counted however often
    /// it is run: two processes with a copy each, and in each other's way, have not died once.
    async fn once_alone(&self, envelope: &Envelope, counted: &mut bool) -> Ran {
        let start = [Start::of(envelope)];
        match self.try_claim(envelope).await {
            Ok(claimed) if self.runs(envelope, claimed) && !*counted => {
                self.begun.add(self.route, &start);
                if let Err(fault) = self.store.start(self.route, self.id, &start).await {
                    return Ran::Fault(fault);
                }
                *counted = true;
            }
            Ok(_) => {}
            Err(fault) => return Ran::Fault(fault),
        }
        self.once(envelope).await
    }

    async fn quarantine(&self, envelope: &Envelope, starts: u32) -> Result<(), Stopped> {
        tracing::error!(
            event.id = %envelope.event,
            event.topic = %envelope.topic,
            route = %self.route,
            starts,
            "the handler of event {} was started {starts} times in a process that did not \
             survive it; it is not run again",
            envelope.event
        );
        let quarantine = Process {
            work: Work::GiveUp {
                reason: DeadReason::Quarantined,
                detail: DETAIL,
            },
            ..*self
        };
        quarantine.together(&[envelope]).await
    }

    /// Whether its handler would run now. Asked by a claim that is given back: while another
    /// process has the event in hand, be it by a copy of the message, the claim waits, so that
    /// those who wait together are not counted as so many deaths.
    async fn would_run(&self, envelope: &Envelope) -> Result<bool, Stopped> {
        let mut pause = self.pause();
        let claimed = loop {
            match self.try_claim(envelope).await {
                Ok(claimed) => break claimed,
                Err(fault) => self.wait(&mut pause, &fault).await?,
            }
        };
        pause.over();
        Ok(self.runs(envelope, claimed))
    }

    fn runs(&self, envelope: &Envelope, claimed: Claimed) -> bool {
        match claimed {
            Claimed::Fresh | Claimed::Granted { .. } => true,
            Claimed::Conflict => match self.config.on_conflict(&envelope.topic) {
                OnConflict::DeadLetter => false,
                OnConflict::Process => true,
            },
            Claimed::Redelivered | Claimed::Duplicate | Claimed::Orphaned => false,
        }
    }

    async fn try_claim(&self, envelope: &Envelope) -> Result<Claimed, Fault> {
        let mut tx = self.store.begin().await?;
        let claimed = self.store.claim(&mut tx, self.route, &[envelope]).await;
        self.store.rollback(tx).await;
        let none = || Fault::plain(FaultKind::Internal, "claim: it answered nothing");
        claimed?.first().copied().ok_or_else(none)
    }

    /// Counts the starts, works, and forgets them.
    async fn counted(&self, envelopes: &[&Envelope], counted: &[Start]) -> Result<(), Stopped> {
        if counted.is_empty() {
            return self.together(envelopes).await;
        }
        self.counts(Counts::Start, counted).await?;
        let ended = self.together(envelopes).await;
        self.survived(counted, ended).await
    }

    /// Forgets starts whose work has ended, one way or the other.
    async fn survived(&self, counted: &[Start], ended: Result<(), Stopped>) -> Result<(), Stopped> {
        match ended {
            Ok(()) => self.counts(Counts::Survived, counted).await.map(drop),
            Err(Stopped) => {
                // Told to stop while the store is away, most likely. It is tried all the same, and
                // at the end of the process once more: what stays behind makes them suspects. Who
                // was a suspect and had no turn stays one.
                let begun = self.begun.among(self.route, counted);
                if !begun.is_empty() && self.store.survived(self.route, &begun).await.is_ok() {
                    self.begun.forget(self.route, &begun);
                }
                Err(Stopped)
            }
        }
    }

    async fn counts(&self, what: Counts, of: &[Start]) -> Result<Vec<u32>, Stopped> {
        if let Counts::Start = what {
            // Before it is counted: whether it was is not always heard.
            self.begun.add(self.route, of);
        }
        let mut pause = self.pause();
        loop {
            let done = match what {
                Counts::Look => self.store.starts(self.route, of).await,
                Counts::Start => self
                    .store
                    .start(self.route, self.id, of)
                    .await
                    .map(|()| vec![]),
                Counts::Survived => {
                    let survived = self.store.survived(self.route, of).await;
                    survived.map(|()| {
                        self.begun.forget(self.route, of);
                        vec![]
                    })
                }
            };
            match done {
                Ok(counts) => {
                    pause.over();
                    return Ok(counts);
                }
                Err(fault) => self.wait(&mut pause, &fault).await?,
            }
        }
    }
}
