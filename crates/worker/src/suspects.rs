//! Poison: an event whose handler takes the whole process with it.
//!
//! A handler that aborts, overflows its stack or eats the machine's memory leaves nobody behind
//! to record a failure, and the event is redelivered, and so are its neighbours: everything that
//! was in flight. So starts are counted before the handler runs, of redelivered events only, and
//! forgotten as soon as the process has survived the attempt. What has a count left over was in
//! flight when a process died: it is suspected. A suspected event runs alone in its process, so
//! that the next death, if there is one, is its own; an innocent one is cleared by its first run.
//!
//! A process that dies of something else dies with an innocent event alone in it, too. So deaths
//! alone count fully only in a process that had completed other events before ([`ALONE_MAX`] of
//! them are enough), an event that has died alone runs after everything that has not
//! ([`crate::isolation`]), and an event that is the only one there is has more tries
//! ([`UNPROVEN_MAX`]). What reaches its limit is quarantined: a dead letter, and its handler does
//! not run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hookbox_driver::{Claimed, DeadReason, Fault, FaultKind, Start, StartCounts, StartKind, Store};
use hookbox_event::Envelope;
use tokio::time::{Instant, sleep, timeout};

use crate::OnConflict;
use crate::attempt::Work;
use crate::claims::{Claim, claim};
use crate::counters::add;
use crate::isolation::Alone;
use crate::process::{Followed, Process, Ran, Stopped};

/// How many deaths alone are enough, in processes that had completed another event before. With
/// the first delivery, which is not counted, and the one beside others, the process has died five
/// times by then, three of them in this handler and in nothing else.
const ALONE_MAX: u32 = 3;

/// How many deaths alone are enough, whatever else the processes did. A crash loop ends here.
const UNPROVEN_MAX: u32 = 10;

/// How long a suspect stands in the others' way until they have ended, and then they in its own.
const ALONE_WAIT: Duration = Duration::from_secs(5);

/// What is known of an event that is quarantined.
const PROVEN: &str = "the process ended while this handler ran alone, three times, each time after \
                      it had completed other events: an abort, a stack overflow, or not enough \
                      memory";

/// What is known of one in whose processes nothing else was completed.
const UNPROVEN: &str = "the process ended while this handler ran alone, ten times; it had not \
                        completed another event before each of them, so that the handler is the \
                        likely cause and not the certain one";

/// Why an event with these counts is not to be started again, if so.
fn conviction(counts: StartCounts) -> Option<&'static str> {
    if counts.isolated >= ALONE_MAX {
        Some(PROVEN)
    } else if counts.alone() >= UNPROVEN_MAX {
        Some(UNPROVEN)
    } else {
        None
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
        let starts: HashMap<Start, StartCounts> = counted.iter().copied().zip(starts).collect();
        let counts_of = |envelope: &Envelope| {
            let start = Start::of(envelope);
            let counts = starts.get(&start).copied().unwrap_or_default();
            self.begun.without_own(self.route, start, counts)
        };
        let (mut suspects, others): (Vec<&Envelope>, Vec<&Envelope>) = envelopes
            .iter()
            .partition(|envelope| counts_of(envelope).all > 0);
        let mut counted = counted;
        counted.retain(|start| others.iter().any(|other| Start::of(other) == *start));
        self.in_company(&others, &counted).await?;
        // They may wait for long, and others are not to wait for their place.
        self.slot.release();
        suspects.sort_by_key(|envelope| counts_of(envelope).alone());
        for suspect in suspects {
            self.suspect(suspect, counts_of(suspect)).await?;
        }
        Ok(())
    }

    /// Beside whatever else runs in this process.
    async fn in_company(&self, envelopes: &[&Envelope], counted: &[Start]) -> Result<(), Stopped> {
        let _beside_others = tokio::select! {
            biased;
            shared = self.isolation.shared() => shared,
            () = self.shutdown.cancelled() => return Err(Stopped),
        };
        self.counted(envelopes, counted).await
    }

    /// With nothing else running in this process, or not at all.
    async fn suspect(&self, envelope: &Envelope, counts: StartCounts) -> Result<(), Stopped> {
        let ended = self.exclusively(envelope, counts).await;
        self.survived(&[Start::of(envelope)], ended).await
    }

    /// Until it has its outcome. The others of this process stop for it, so they stop for one run
    /// at a time, and have at least as long for themselves before the next: what keeps one event
    /// from its outcome, be it for hours, never keeps the others from theirs.
    async fn exclusively(&self, envelope: &Envelope, counts: StartCounts) -> Result<(), Stopped> {
        let mut pause = self.pause();
        let (mut told, mut counted) = (false, false);
        loop {
            // Whoever has it in hand elsewhere is waited for beside the others.
            let runs = self.would_run(envelope).await?;
            if runs && let Some(detail) = conviction(counts) {
                return self.quarantine(envelope, counts, detail).await;
            }
            if runs && !std::mem::replace(&mut told, true) {
                add(&self.counters.suspects, 1);
                tracing::warn!(
                    event.id = %envelope.event,
                    event.topic = %envelope.topic,
                    route = %self.route,
                    starts = counts.all,
                    deaths_alone = counts.isolated,
                    deaths_unproven = counts.unproven,
                    "a process died while event {} was in flight; its handler runs alone now \
                     (deaths alone: {} of {ALONE_MAX} after other events, {} of {UNPROVEN_MAX} in \
                     all)",
                    envelope.event,
                    counts.isolated,
                    counts.alone()
                );
            }
            let (ran, held) = {
                let Some(_alone) = self.alone_in_time(counts.alone()).await? else {
                    continue;
                };
                let began = Instant::now();
                (
                    self.once_alone(envelope, &mut counted).await,
                    began.elapsed(),
                )
            };
            if self.follow(ran, held, &mut pause).await? == Followed::Over {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Err(Stopped),
                () = sleep(held) => {}
            }
        }
    }

    /// Waits for this event's turn and until nothing else runs in this process, and steps back
    /// where that takes long: behind one that waits for this nothing else starts, and what runs
    /// may itself be held up for hours.
    async fn alone_in_time(&self, deaths: u32) -> Result<Option<Alone<'_>>, Stopped> {
        let ticket = self.isolation.ticket(deaths);
        let alone = async {
            ticket.turn(self.all_counters).await;
            timeout(ALONE_WAIT, ticket.alone()).await
        };
        let alone = tokio::select! {
            biased;
            alone = alone => alone,
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
        *counted |= self.begun.is_counted_alone(self.route, start[0]);
        match self.try_claim(envelope).await {
            Ok(claim) if self.runs(&claim) && !*counted => {
                let kind = if self.all_counters.has_completed() {
                    StartKind::Isolated
                } else {
                    StartKind::Unproven
                };
                self.begun.add(self.route, kind, &start);
                if let Err(fault) = self.store.start(self.route, self.id, kind, &start).await {
                    return Ran::Fault(fault);
                }
                self.begun.counted(self.route, start[0]);
                *counted = true;
            }
            Ok(_) => {}
            Err(fault) => return Ran::Fault(fault),
        }
        self.once(envelope).await
    }

    async fn quarantine(
        &self,
        envelope: &Envelope,
        counts: StartCounts,
        detail: &'static str,
    ) -> Result<(), Stopped> {
        tracing::error!(
            event.id = %envelope.event,
            event.topic = %envelope.topic,
            route = %self.route,
            starts = counts.all,
            deaths_alone = counts.isolated,
            deaths_unproven = counts.unproven,
            "event {} is quarantined: {detail}; its handler is not run again",
            envelope.event
        );
        let quarantine = Process {
            work: Work::GiveUp {
                reason: DeadReason::Quarantined,
                detail,
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
        let claim = loop {
            match self.try_claim(envelope).await {
                Ok(claim) => break claim,
                Err(fault) => self.wait(&mut pause, &fault).await?,
            }
        };
        pause.over();
        Ok(self.runs(&claim))
    }

    /// Whether a handler runs for what was claimed so.
    fn runs(&self, claim: &Claim) -> bool {
        let handled = match self.config.on_conflict(&claim.envelope.topic) {
            OnConflict::DeadLetter => claim.conflict_with.is_none(),
            OnConflict::Process | OnConflict::Duplicate => true,
        };
        match claim.claimed {
            Claimed::Fresh | Claimed::Granted { .. } => handled,
            Claimed::Conflict | Claimed::Redelivered | Claimed::Duplicate | Claimed::Orphaned => {
                false
            }
        }
    }

    async fn try_claim(&self, envelope: &Envelope) -> Result<Claim, Fault> {
        let mut tx = self.store.begin().await?;
        let claimed = claim(self.store, self.config, &mut tx, self.route, &[envelope]).await;
        self.store.rollback(tx).await;
        let none = || Fault::plain(FaultKind::Internal, "claim: it answered nothing");
        claimed?.pop().ok_or_else(none)
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

    async fn counts(&self, what: Counts, of: &[Start]) -> Result<Vec<StartCounts>, Stopped> {
        if let Counts::Start = what {
            // Before it is counted: whether it was is not always heard.
            self.begun.add(self.route, StartKind::Shared, of);
        }
        let mut pause = self.pause();
        loop {
            let done = match what {
                Counts::Look => self.store.starts(self.route, of).await,
                Counts::Start => self
                    .store
                    .start(self.route, self.id, StartKind::Shared, of)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_convicted_by_deaths_alone_only() {
        for (all, isolated, unproven, expect) in [
            (0, 0, 0, None),
            (99, 0, 0, None),
            (5, 2, 3, None),
            (3, 3, 0, Some(PROVEN)),
            (9, 0, 9, None),
            (10, 0, 10, Some(UNPROVEN)),
            (10, 2, 8, Some(UNPROVEN)),
            (12, 3, 9, Some(PROVEN)),
        ] {
            let counts = StartCounts {
                all,
                isolated,
                unproven,
            };
            assert_eq!(conviction(counts), expect, "{counts:?}");
        }
    }
}
