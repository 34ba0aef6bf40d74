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

use hookbox_driver::{Claimed, DeadReason, Fault, FaultKind, Start, Store};
use hookbox_event::Envelope;
use tokio::sync::RwLock;

use crate::OnConflict;
use crate::attempt::Work;
use crate::counters::add;
use crate::process::{Process, Stopped};

/// How many starts without an end are enough. The first may be a neighbour's fault; a deploy that
/// kills, an operator and the machine itself may each take one more. With the first delivery,
/// which is not counted, the process has died six times by then, four of them with nothing else
/// in hand.
const STARTS_MAX: u32 = 5;

/// What an operator should know of one.
const DETAIL: &str = "each of the last 5 times that its handler was started, the process did not \
                      survive it: an abort, a stack overflow, or not enough memory";

/// Who may run a handler beside whom, in one process.
pub(crate) type Company = RwLock<()>;

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
        let start = &[Start::of(envelope)];
        let _alone = tokio::select! {
            biased;
            guard = self.company.write() => guard,
            () = self.shutdown.cancelled() => return Err(Stopped),
        };
        if !self.would_run(envelope).await? {
            self.together(&[envelope]).await?;
            return self.counts(Counts::Survived, start).await.map(drop);
        }
        if starts >= STARTS_MAX {
            self.quarantine(envelope, starts).await?;
            return self.counts(Counts::Survived, start).await.map(drop);
        }
        add(&self.counters.suspects, 1);
        tracing::warn!(
            event.id = %envelope.event,
            event.topic = %envelope.topic,
            route = %self.route,
            starts,
            "a process died while it had event {} in hand; its handler runs alone now",
            envelope.event
        );
        self.counted(&[envelope], start).await
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
        Ok(match claimed {
            Claimed::Fresh | Claimed::Granted { .. } => true,
            Claimed::Conflict => match self.config.on_conflict(&envelope.topic) {
                OnConflict::DeadLetter => false,
                OnConflict::Process => true,
            },
            Claimed::Redelivered | Claimed::Duplicate | Claimed::Orphaned => false,
        })
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
        match ended {
            Ok(()) => self.counts(Counts::Survived, counted).await.map(drop),
            Err(Stopped) => {
                // Told to stop while the store is away, most likely. It is tried all the same:
                // what stays behind makes them suspects, who are cleared by their next run.
                let _ = self.store.survived(self.route, counted).await;
                Err(Stopped)
            }
        }
    }

    async fn counts(&self, what: Counts, of: &[Start]) -> Result<Vec<u32>, Stopped> {
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
                    survived.map(|()| vec![])
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
