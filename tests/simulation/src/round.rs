//! How a round of an event must end, as its body requests. A round is the series of attempts that
//! an event gets when it comes in, and again at each replay.

use bytes::Bytes;
use hookbox_driver::DeadReason;
use hookbox_worker::OnConflict;

use crate::body::{EventBody, Plan, identity};
use crate::on_route::OnRoute;
use crate::scenario::{Scenario, source};
use crate::tables::Tables;

/// How many leases of one attempt the worker allows to end without an outcome.
const LOST_MAX: u32 = 4;

/// How a round of an event has ended. `failures` is the number of failed attempts of the event
/// until then, including those of earlier rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoundEnd {
    Done { failures: u32 },
    Dead { reason: DeadReason, failures: u32 },
    Stale { failures: u32 },
}

/// The rules for the rounds of one event on one route.
pub(crate) struct RoundRules<'a> {
    pub tables: &'a Tables,
    pub scenario: &'a Scenario,
    pub on: &'a OnRoute,
    /// The stored body of the event.
    pub body: &'a Bytes,
}

impl RoundEnd {
    fn failures(self) -> u32 {
        match self {
            RoundEnd::Done { failures }
            | RoundEnd::Dead { failures, .. }
            | RoundEnd::Stale { failures } => failures,
        }
    }

    fn reason(self) -> Option<DeadReason> {
        match self {
            RoundEnd::Done { .. } | RoundEnd::Stale { .. } => None,
            RoundEnd::Dead { reason, .. } => Some(reason),
        }
    }
}

impl RoundRules<'_> {
    /// Returns what is wrong with the rounds of the event, if anything is.
    pub fn broken_by(&self, rounds: &[RoundEnd]) -> Option<String> {
        let mut before = 0;
        for (round, found) in rounds.iter().enumerate() {
            let expected = self.expected(round, before);
            let fits = *found == expected
                || self.was_killed_often(before, expected, *found)
                || self.was_stale(before, expected, *found)
                || self.was_lost(before, expected, *found)
                || self.was_killed_as_another_body(expected, *found)
                || self.was_rolled_back(before, *found);
            if !fits {
                return Some(format!(
                    "must end round {round} as {expected:?}, but its rounds are {rounds:?}"
                ));
            }
            before = found.failures();
        }
        None
    }

    /// Returns how a round must end. `before` is the number of failed attempts of the event before
    /// this round.
    fn expected(&self, round: usize, before: u32) -> RoundEnd {
        let dead = |reason, failed: u32| RoundEnd::Dead {
            reason,
            failures: before + failed,
        };
        let Ok(said) = serde_json::from_slice::<EventBody>(self.body) else {
            return dead(DeadReason::Malformed, 0);
        };
        // A conflict runs no handler before its first replay, unless conflicts are processed.
        let is_conflict = self.on.1 != identity(&source(), self.body).0;
        let ends = match self.scenario.on_conflict {
            OnConflict::DeadLetter => is_conflict && round == 0,
            OnConflict::Process | OnConflict::Duplicate => false,
        };
        if ends {
            return dead(DeadReason::Conflict, 0);
        }
        match said.plan {
            Plan::Well => RoundEnd::Done { failures: before },
            Plan::Permanent => dead(DeadReason::Rejected, 1),
            Plan::Kill if self.has_effect() => dead(DeadReason::Lost, 0),
            // With these plans, a call succeeds or is deferred, and a deferred call costs no
            // attempt.
            Plan::Commit | Plan::RollBack | Plan::Swallow(_) if self.has_effect() => {
                RoundEnd::Done { failures: before }
            }
            Plan::Commit | Plan::RollBack => dead(DeadReason::Orphaned, 1),
            Plan::Kill => dead(DeadReason::Quarantined, 0),
            Plan::Transient(times)
            | Plan::Panic(times)
            | Plan::Hang(times)
            | Plan::Swallow(times) => {
                let failures = times.max(before);
                if failures < before + self.scenario.attempts {
                    RoundEnd::Done { failures }
                } else {
                    dead(DeadReason::Exhausted, self.scenario.attempts)
                }
            }
        }
    }

    fn has_effect(&self) -> bool {
        self.scenario.calls_of(&self.on.0).is_some()
    }

    /// Returns whether the event was found stale at one of the attempts of this round. I21 checks
    /// separately whether the event really was stale.
    fn was_stale(&self, before: u32, expected: RoundEnd, found: RoundEnd) -> bool {
        let is_within = (before..=expected.failures()).contains(&found.failures());
        let is_stale = matches!(found, RoundEnd::Stale { .. });
        is_stale && is_within && self.scenario.applies_newest(&self.on.0)
    }

    /// Returns whether the event was given up after enough leases without an outcome, whatever
    /// ended the processes.
    fn was_lost(&self, before: u32, expected: RoundEnd, found: RoundEnd) -> bool {
        let is_within = (before..=expected.failures()).contains(&found.failures());
        let leases = self.tables.epochs.get(self.on).copied().unwrap_or(0);
        found.reason() == Some(DeadReason::Lost) && is_within && leases >= LOST_MAX
    }

    /// Returns whether the event was quarantined after enough deaths in isolation, whatever ended
    /// the processes. Only then may it be quarantined although its handler has ended no process.
    fn was_killed_often(&self, before: u32, expected: RoundEnd, found: RoundEnd) -> bool {
        let is_within = (before..=expected.failures()).contains(&found.failures());
        let is_quarantined = found.reason() == Some(DeadReason::Quarantined);
        is_quarantined && is_within && self.tables.convicted.contains(self.on)
    }

    /// Returns whether an event that should have become a conflict was quarantined. Another body
    /// has its event id. Until one of the two bodies is stored, the handler may run for either of
    /// them. If the run for this body kills its process often, the event is quarantined before it
    /// can become a conflict.
    fn was_killed_as_another_body(&self, expected: RoundEnd, found: RoundEnd) -> bool {
        let said = serde_json::from_slice::<EventBody>(self.body);
        said.is_ok_and(|it| matches!(it.plan, Plan::Kill))
            && expected.reason() == Some(DeadReason::Conflict)
            && found.reason() == Some(DeadReason::Quarantined)
    }

    /// Returns whether the event is orphaned because a handler rolled back its own transaction. The
    /// run of that handler is one of the following: a run of this body, perhaps under another event
    /// id; a run of another body, if the event id alone decides; or a run of a whole batch with
    /// this event. In a batch the worker cannot know which event ended the transaction, so it gives
    /// up all of them. The run has counted an attempt, unless the event changed before the failure
    /// could be recorded. An operator may replay the event, and its next round starts after that
    /// attempt.
    fn was_rolled_back(&self, before: u32, found: RoundEnd) -> bool {
        let id_decides = self.scenario.on_conflict == OnConflict::Duplicate;
        let failures = found.failures();
        let is_orphaned = found.reason() == Some(DeadReason::Orphaned);
        let mut runs = self.tables.rolled_back.iter();
        is_orphaned
            && failures >= before
            && runs.any(|run| {
                let is_attempt = run.attempt == failures || run.attempt == failures + 1;
                is_attempt && run.is_of(self.on, self.body, id_decides)
            })
    }
}
