//! The heart: claim → check → handle → settle → commit, for envelopes that share a transaction.
//!
//! Reads top to bottom as "the way of one event" in docs/ARCHITECTURE.md. Every branch of what can
//! go wrong ends in [`Trouble`], and `settle` decides what follows.

use std::time::Instant;

use hookbox_crash::crash_point;
use hookbox_driver::{Claimed, DeadReason, Fault, Outcome, Settled, Store};
use hookbox_event::{ContentDigest, Envelope, EventId};

use crate::blame::{blame, is_done};
use crate::check::check;
use crate::claims::{Claim, claim};
use crate::counters::{Counted, RouteCounters, add};
use crate::guard::{self, Failed};
use crate::proof::prove;
use crate::settle::Ended;
use crate::{Config, Event, OnConflict, Route};

/// What is to be done with what was claimed.
pub(crate) enum Work<'a, S: Store> {
    /// Run the route's handler.
    Handle(&'a Route<S>),
    /// Keep it as a dead letter without running anything.
    GiveUp { reason: DeadReason, detail: &'a str },
}

impl<S: Store> Clone for Work<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

// Derived, it would ask the store to be `Copy`, of which only a reference is held.
impl<S: Store> Copy for Work<'_, S> {}

/// Why a transaction did not end in a commit.
pub(crate) enum Trouble {
    /// One event's handler failed.
    Event(Box<EventTrouble>),
    /// The commit's guard found that some handler of these broke the transaction.
    Broken { why: String },
    /// A fault of our own.
    Fault(Fault),
}

/// The failure of one event.
pub(crate) struct EventTrouble {
    /// The envelope, under the event id that was claimed.
    pub envelope: Envelope,
    pub attempt: u32,
    pub attempts_before: u32,
    pub other_digest: Option<ContentDigest>,
    pub failed: Failed,
    pub took: std::time::Duration,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Trouble::Fault(fault)
    }
}

/// One envelope that is ours to work on.
pub(crate) struct Mine {
    envelope: Envelope,
    attempt: u32,
    attempts_before: u32,
    conflict_with: Option<EventId>,
    other_digest: Option<ContentDigest>,
    orphaned: bool,
}

/// What the claims said, sorted by what is to be done.
#[derive(Default)]
struct Sorted {
    mine: Vec<Mine>,
    duplicates: Vec<(Envelope, Option<ContentDigest>)>,
    redelivered: u64,
}

/// One transaction over envelopes of distinct events.
pub(crate) struct Attempt<'a, S: Store> {
    pub store: &'a S,
    pub config: &'a Config<S>,
    pub route: &'a hookbox_event::RouteName,
    pub counters: &'a RouteCounters,
    pub work: Work<'a, S>,
}

impl<S: Store> Attempt<'_, S> {
    /// Runs the transaction to its commit, or tells what prevented it. Nothing stays behind then.
    pub async fn run(&self, envelopes: &[&Envelope]) -> Result<(), Trouble> {
        let mut tx = match self.work {
            Work::Handle(route) if !route.handler.is_trusted() => {
                self.store.begin_for_handler().await?
            }
            Work::Handle(_) | Work::GiveUp { .. } => self.store.begin().await?,
        };
        let sorted = match self.claim(&mut tx, envelopes).await {
            Ok(sorted) => sorted,
            Err(fault) => {
                self.store.rollback(tx).await;
                return Err(fault.into());
            }
        };
        if sorted.mine.is_empty() && sorted.duplicates.is_empty() {
            self.store.rollback(tx).await;
            add(&self.counters.redelivered, sorted.redelivered);
            return Ok(());
        }
        crash_point!("worker.after_claim");
        let mut outcomes = Vec::with_capacity(sorted.mine.len());
        for mine in &sorted.mine {
            match self.work_on(&mut tx, mine).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(trouble) => {
                    if trouble.is_interrupted() {
                        // Stopped in the middle of a statement: only closing is safe.
                        drop(tx);
                    } else {
                        self.store.rollback(tx).await;
                    }
                    return Err(trouble);
                }
            }
        }
        self.finish(tx, &sorted, outcomes).await
    }

    async fn claim(&self, tx: &mut S::Tx, envelopes: &[&Envelope]) -> Result<Sorted, Fault> {
        let mut sorted = Sorted::default();
        for claim in claim(self.store, self.config, tx, self.route, envelopes).await? {
            sorted.sort(claim);
        }
        Ok(sorted)
    }

    /// Decides about one event and, where it is to be handled, runs the handler.
    async fn work_on(&self, tx: &mut S::Tx, mine: &Mine) -> Result<Outcome, Trouble> {
        let started = Instant::now();
        let trouble = |failed, took| {
            Trouble::Event(Box::new(EventTrouble {
                envelope: mine.envelope.clone(),
                attempt: mine.attempt,
                attempts_before: mine.attempts_before,
                other_digest: mine.other_digest,
                failed,
                took,
            }))
        };
        if mine.orphaned {
            return Err(trouble(orphaned(), started.elapsed()));
        }
        let route = match self.work {
            Work::Handle(route) => route,
            Work::GiveUp { reason, detail } => {
                return Ok(Outcome::Dead {
                    reason,
                    detail: detail.to_owned(),
                });
            }
        };
        if let Some(original) = mine.conflict_with
            && self.config.on_conflict(&mine.envelope.topic) == OnConflict::DeadLetter
        {
            let detail = format!("another body came under the id of event {original}");
            return Ok(Outcome::Conflict { detail });
        }
        let schemas = self.config.schemas.of(&mine.envelope.source);
        let schemas = schemas.as_deref();
        if let Err(broken) = check(schemas, &mine.envelope.topic, &mine.envelope.body) {
            return Ok(Outcome::Dead {
                reason: broken.reason,
                detail: broken.detail,
            });
        }
        let event = event_of(&mine.envelope, mine.attempt);
        let connection = self.store.connection(tx);
        let _running = Counted::new(&self.counters.running, 1);
        let ran = guard::run(
            self.store,
            &*route.handler,
            event,
            connection,
            route.time_limit,
        )
        .await;
        crash_point!("worker.mid_handler", mine.envelope.topic.as_str());
        let ran = if route.handler.is_trusted() {
            ran
        } else {
            prove(self.store, tx, ran).await?
        };
        match ran {
            Ok(()) => Ok(Outcome::Done {
                attempt: mine.attempt,
            }),
            Err(failed) => Err(trouble(failed, started.elapsed())),
        }
    }

    /// Writes every outcome and commits.
    async fn finish(
        &self,
        mut tx: S::Tx,
        sorted: &Sorted,
        outcomes: Vec<Outcome>,
    ) -> Result<(), Trouble> {
        let mut settled: Vec<Settled<'_>> = sorted
            .mine
            .iter()
            .zip(outcomes)
            .map(|(mine, outcome)| Settled {
                envelope: &mine.envelope,
                outcome,
                other_digest: mine.other_digest,
            })
            .collect();
        for (envelope, other_digest) in &sorted.duplicates {
            settled.push(Settled {
                envelope,
                outcome: Outcome::Duplicate,
                other_digest: *other_digest,
            });
        }
        crash_point!("worker.before_settle");
        let written = match self.store.settle(&mut tx, self.route, &settled).await {
            Ok(()) => {
                crash_point!("worker.before_commit");
                self.store.commit(tx).await
            }
            Err(error) => {
                self.store.rollback(tx).await;
                Err(error)
            }
        };
        let remedy = |fault: &Fault| self.store.remedy(fault);
        let ran = settled.first().is_some_and(|first| is_done(&first.outcome));
        written.map_err(|error| blame(error, &sorted.mine, ran, remedy))?;
        crash_point!("worker.after_commit");
        self.count(&settled, sorted.redelivered);
        Ok(())
    }

    /// A handler did its work: nothing that the route needs is missing.
    fn has_succeeded(&self) {
        if self.counters.rights.succeed() {
            tracing::info!(
                route = %self.route,
                "a handler of route {} succeeded again; the route resumes",
                self.route
            );
        }
    }

    fn count(&self, settled: &[Settled<'_>], redelivered: u64) {
        add(&self.counters.redelivered, redelivered);
        for Settled {
            outcome, envelope, ..
        } in settled
        {
            match outcome {
                Outcome::Done { .. } => {
                    add(&self.counters.done, 1);
                    self.has_succeeded();
                }
                Outcome::Duplicate => add(&self.counters.duplicate, 1),
                Outcome::Conflict { .. } => add(&self.counters.conflict, 1),
                Outcome::Dead { reason, .. } => {
                    add(&self.counters.dead, 1);
                    tracing::warn!(
                        event.id = %envelope.event,
                        event.topic = %envelope.topic,
                        route = %self.route,
                        reason = reason.as_str(),
                        "event {} is a dead letter of route {} ({}); see `hookbox dead list`",
                        envelope.event,
                        self.route,
                        reason.as_str()
                    );
                }
            }
        }
    }
}

/// The failure of an event whose claim was committed without its outcome.
fn orphaned() -> Failed {
    let error = "an earlier run of the handler ended its own transaction; whether all of its \
                 effects stand is not known, so it is not run again";
    Failed {
        ended: Ended::Orphaned,
        error: error.to_owned(),
        interrupted: false,
        remedy: None,
    }
}

impl Trouble {
    fn is_interrupted(&self) -> bool {
        match self {
            Trouble::Event(trouble) => trouble.failed.interrupted,
            Trouble::Broken { .. } | Trouble::Fault(_) => false,
        }
    }
}

impl Mine {
    /// What the commit found out about the only handler of a transaction.
    pub fn trouble(&self, failed: Failed) -> Trouble {
        Trouble::Event(Box::new(EventTrouble {
            envelope: self.envelope.clone(),
            attempt: self.attempt,
            attempts_before: self.attempts_before,
            other_digest: self.other_digest,
            failed,
            took: std::time::Duration::ZERO,
        }))
    }
}

impl Sorted {
    fn sort(&mut self, claim: Claim) {
        let Claim {
            envelope,
            claimed,
            conflict_with,
            other_digest,
        } = claim;
        let mine = |envelope, attempt, attempts_before, orphaned| Mine {
            envelope,
            attempt,
            attempts_before,
            conflict_with,
            other_digest,
            orphaned,
        };
        match claimed {
            Claimed::Fresh => self.mine.push(mine(envelope, 1, 0, false)),
            Claimed::Granted {
                attempt,
                attempts_before,
            } => {
                self.mine
                    .push(mine(envelope, attempt, attempts_before, false));
            }
            Claimed::Orphaned => self.mine.push(mine(envelope, 1, 0, true)),
            Claimed::Redelivered => self.redelivered += 1,
            // A conflict's own id contains its digest, so a second conflict there says the same.
            Claimed::Duplicate | Claimed::Conflict => {
                self.duplicates.push((envelope, other_digest));
            }
        }
    }
}

pub(crate) fn event_of(envelope: &Envelope, attempt: u32) -> Event<()> {
    Event {
        id: envelope.event,
        receipt: envelope.receipt,
        source: envelope.source.clone(),
        topic: envelope.topic.clone(),
        digest: envelope.digest,
        received_at: envelope.received_at,
        attempt,
        body: envelope.body.clone(),
        payload: (),
    }
}
