//! Compares the responses that senders got with the tables of the store, once no work is left.

use std::collections::BTreeMap;

use bytes::Bytes;
use hookbox_driver::{ClaimState, DeadReason};
use hookbox_event::{ContentDigest, Digester, EventId, RouteName, decode_batch};
use hookbox_worker::OnConflict;

use crate::body::{EventBody, Plan, identity};
use crate::newest;
use crate::on_route::OnRoute;
use crate::round::{RoundEnd, RoundRules};
use crate::scenario::{Scenario, routes_of, source};
use crate::tables::{Claim, Receipt, StoredOutcome, Tables};
use crate::world::State;

/// Returns all violations. Each text begins with the number of the invariant that is violated.
pub(crate) fn check(state: &State, scenario: &Scenario) -> Vec<String> {
    let mut check = Check {
        state,
        tables: &state.tables,
        scenario,
        found: state.violations.clone(),
    };
    check.every_receipt();
    check.every_claim();
    check.every_effect();
    check.found.extend(newest::check(&state.tables, scenario));
    let has_effect = |on: &OnRoute| scenario.calls_of(&on.0).is_some();
    let claims = state.tables.claims.iter();
    let done = claims.filter(|(on, claim)| claim.state == ClaimState::Done && has_effect(on));
    let wrong = state.tables.calls.check(done.map(|(on, _)| on));
    check.found.extend(wrong);
    check.the_books();
    check.what_was_rubbish();
    let accounts = &state.tables.accounts;
    let broken = accounts.check(&state.queues.confirmed, state.tables.numbers());
    check.found.extend(broken);
    check.found.extend(state.tables.witnesses.check(accounts));
    check.found
}

struct Check<'a> {
    state: &'a State,
    tables: &'a Tables,
    scenario: &'a Scenario,
    found: Vec<String>,
}

/// Returns what is wrong with the digest that is recorded for a receipt, if anything is. A digest
/// must be recorded exactly if the body of the receipt differs from the stored body of its event.
fn says_wrongly(
    receipt: &Receipt,
    kept: ContentDigest,
    own: ContentDigest,
    id_decides: bool,
) -> Option<&'static str> {
    if kept == own {
        let is_recorded = receipt.other_digest.is_some();
        return is_recorded.then_some(
            "a digest is recorded with the receipt although its body is the stored one",
        );
    }
    match (id_decides, receipt.other_digest) {
        (false, _) => Some("its event has another body, so it should be a conflict"),
        (true, Some(recorded)) if recorded == own => None,
        (true, _) => {
            Some("its event has another body, and the digest of the receipt's body is not recorded")
        }
    }
}

/// Returns the number of events that were quarantined although they killed no process.
pub(crate) fn innocents(tables: &Tables) -> u64 {
    let is_innocent = |on: &&OnRoute| {
        let kept = tables.events.get(&on.1);
        let said = kept.and_then(|it| serde_json::from_slice::<EventBody>(&it.body).ok());
        !said.is_some_and(|it| matches!(it.plan, Plan::Kill))
    };
    tables.convicted.iter().filter(is_innocent).count() as u64
}

impl Check<'_> {
    fn violation(&mut self, invariant: &str, what: String) {
        self.found.push(format!("{invariant}: {what}"));
    }

    /// I1: checks that each receipt that was answered 200 has one outcome on every matching route.
    fn every_receipt(&mut self) {
        for accepted in self.state.accepted.clone() {
            for route in routes_of(&accepted.body) {
                let key = (route.clone(), accepted.receipt);
                let Some(receipt) = self.tables.receipts.get(&key).cloned() else {
                    let text = format!(
                        "receipt {} on {route} is not in the store",
                        accepted.receipt
                    );
                    self.violation("I1", text);
                    continue;
                };
                if let Some(what) = self.ends_wrongly(&route, &receipt, &accepted.body) {
                    let text = format!("receipt {} on {route}: {what}", accepted.receipt);
                    self.violation("I1", text);
                }
            }
        }
    }

    fn ends_wrongly(&self, route: &RouteName, receipt: &Receipt, body: &Bytes) -> Option<String> {
        let (event, digest) = identity(&source(), body);
        let of_conflict = EventId::of_conflict(&Digester::Plain, &event, &digest);
        let kept = self.tables.events.get(&receipt.event)?;
        let id_decides = self.scenario.on_conflict == OnConflict::Duplicate;
        if receipt.event != event && (id_decides || receipt.event != of_conflict) {
            return Some(format!(
                "its body is not of the event {:?} under which it is stored",
                receipt.event
            ));
        }
        if let Some(what) = says_wrongly(receipt, kept.digest, digest, id_decides) {
            return Some(what.to_owned());
        }
        let claim = self.tables.claims.get(&(route.clone(), receipt.event));
        let state = claim.map(|it| it.state);
        let fits = match receipt.word {
            StoredOutcome::Done => state == Some(ClaimState::Done),
            StoredOutcome::Dead => state == Some(ClaimState::Dead),
            StoredOutcome::Stale => state == Some(ClaimState::Stale),
            // A receipt stays a conflict even when an operator replays its event.
            StoredOutcome::Conflict | StoredOutcome::Duplicate => matches!(
                state,
                Some(ClaimState::Done | ClaimState::Dead | ClaimState::Stale)
            ),
            StoredOutcome::Retrying => false,
        };
        (!fits).then(|| {
            format!(
                "its outcome is {:?}, and its event is {state:?}",
                receipt.word
            )
        })
    }

    /// I2, I4, I9, I10: checks that each event ends as its body requests, after the right number of
    /// attempts.
    fn every_claim(&mut self) {
        let claims: Vec<(OnRoute, Claim)> = self.tables.claims.clone().into_iter().collect();
        for (on, claim) in claims {
            let Some(kept) = self.tables.events.get(&on.1) else {
                self.violation("I4", format!("{on:?} has a claim but no stored event"));
                continue;
            };
            if kept.envelope.is_none() {
                continue;
            }
            let body = kept.body.clone();
            let id_decides = self.scenario.on_conflict == OnConflict::Duplicate;
            if id_decides && identity(&source(), &body).0 != on.1 {
                let text = format!("{on:?} is a separate event, although the id alone decides");
                self.violation("I2", text);
            }
            if !self.state.signed.contains(&body) {
                let text = format!("{on:?} has a body that was not signed");
                self.violation("I4", text);
                continue;
            }
            let rounds = self.rounds(&on, claim);
            let wrong = if self.tables.orphans.contains(&on) {
                let is_dead = claim.state == ClaimState::Dead;
                (!is_dead)
                    .then(|| format!("is orphaned and must be dead, but its rounds are {rounds:?}"))
            } else if self.was_given_up(&on) {
                // The broker may have given up the message before, during or after the attempts. So
                // any state is right at the end, if the tables do not contradict each other.
                rounds.err()
            } else {
                let rules = RoundRules {
                    tables: self.tables,
                    scenario: self.scenario,
                    on: &on,
                    body: &body,
                };
                rounds.map_or_else(Some, |rounds| rules.broken_by(&rounds))
            };
            if let Some(what) = wrong {
                self.violation("I9", format!("{on:?} {what}"));
            }
        }
    }

    /// Returns how each round of an event has ended. Returns an error if the tables contradict each
    /// other about the event.
    fn rounds(&self, on: &OnRoute, claim: Claim) -> Result<Vec<RoundEnd>, String> {
        let of = |it: &&(RouteName, EventId, u32)| it.0 == on.0 && it.1 == on.1;
        let failures = self.tables.failures.keys().filter(of).count();
        let failures = u32::try_from(failures).unwrap_or(u32::MAX);
        let replays = self.tables.replays.get(on).copied().unwrap_or(0);
        let dead = self.tables.dead.get(on);
        let dead = dead.map_or(&[][..], |it| it.written.as_slice());
        let written = u32::try_from(dead.len()).unwrap_or(u32::MAX);
        let ends = dead.iter().map(|(reason, failures)| RoundEnd::Dead {
            reason: *reason,
            failures: *failures,
        });
        match (claim.state, dead.last()) {
            (ClaimState::Done, _) if claim.attempts == failures + 1 && written == replays => {
                Ok(ends.chain([RoundEnd::Done { failures }]).collect())
            }
            (ClaimState::Stale, _) if claim.attempts == failures && written == replays => {
                Ok(ends.chain([RoundEnd::Stale { failures }]).collect())
            }
            (ClaimState::Dead, Some((_, attempts)))
                if written == replays + 1
                    && *attempts == failures
                    && claim.attempts == failures =>
            {
                Ok(ends.collect())
            }
            (state, _) => Err(format!(
                "is {state:?} after {} attempts, {failures} failures, {replays} replays, dead \
                 letters {dead:?}",
                claim.attempts
            )),
        }
    }

    /// Returns whether the broker itself has moved a message of an event to the dead-letter queue.
    /// Only then may the event be a dead letter although its handler has not failed.
    fn was_given_up(&self, on: &OnRoute) -> bool {
        self.state.queues.gave_up.iter().any(|(route, bytes)| {
            let mut frames = decode_batch(bytes)
                .unwrap_or_default()
                .into_iter()
                .flatten();
            *route == on.0
                && frames.any(|it| {
                    it.event == on.1
                        || EventId::of_conflict(&Digester::Plain, &it.event, &it.digest) == on.1
                })
        })
    }

    /// I3, I4: checks that each event that is done has exactly one effect, made from its stored
    /// body. No other event may have an effect.
    fn every_effect(&mut self) {
        for on in self.tables.doubled() {
            self.violation("I3", format!("{on:?} has more than one effect"));
        }
        let mut counts: BTreeMap<OnRoute, usize> = BTreeMap::new();
        for effect in self.tables.effects.clone() {
            let on = (effect.route.clone(), effect.event);
            *counts.entry(on.clone()).or_default() += 1;
            let kept = self.tables.events.get(&effect.event);
            if kept.map(|it| &it.body) != Some(&effect.body) {
                self.violation(
                    "I4",
                    format!("{on:?} has an effect of another body than the stored one"),
                );
            }
            let state = self.tables.claims.get(&on).map(|it| it.state);
            if state != Some(ClaimState::Done) && !self.tables.orphans.contains(&on) {
                let text = format!(
                    "{on:?} has an effect by {} at attempt {}, but its claim is {state:?}",
                    effect.by, effect.attempt
                );
                self.violation("I2", text);
            }
        }
        for (on, claim) in &self.tables.claims {
            let has_handler = self.scenario.calls_of(&on.0).is_none();
            if has_handler && claim.state == ClaimState::Done && !counts.contains_key(on) {
                let text = format!("I1: {on:?} is done but has no effect");
                self.found.push(text);
            }
        }
    }

    /// I2: checks that receipts, claims and dead letters agree with each other.
    fn the_books(&mut self) {
        let mut firsts: BTreeMap<OnRoute, usize> = BTreeMap::new();
        for ((route, _), receipt) in &self.tables.receipts {
            if receipt.word != StoredOutcome::Duplicate {
                *firsts.entry((route.clone(), receipt.event)).or_default() += 1;
            }
        }
        for (on, _) in self.tables.claims.clone() {
            let first = firsts.remove(&on).unwrap_or(0);
            let kept = self.tables.events.get(&on.1);
            let undecodable = kept.is_some_and(|it| it.envelope.is_none());
            // If a claim is orphaned, every receipt of its event becomes a dead letter together
            // with the event. So such an event may have several receipts that are not duplicates.
            let orphaned = first > 0 && self.tables.orphans.contains(&on);
            if first != usize::from(!undecodable) && !orphaned {
                let text = format!("{on:?} has {first} receipts that are not duplicates");
                self.violation("I2", text);
            }
        }
        for on in firsts.into_keys() {
            self.violation("I2", format!("{on:?} has receipts but no claim"));
        }
        for (on, dead) in self.tables.dead.clone() {
            let claim = self.tables.claims.get(&on).map(|it| it.state);
            let fits = match claim {
                Some(ClaimState::Dead) => true,
                Some(ClaimState::Done | ClaimState::Stale) => self.tables.replays.contains_key(&on),
                Some(ClaimState::Running | ClaimState::Retrying) | None => false,
            };
            if !fits {
                let text = format!(
                    "{on:?} is a dead letter ({:?}), but its claim is {claim:?}",
                    dead.reason
                );
                self.violation("I10", text);
            }
        }
    }

    /// I1: checks that bytes that are not an envelope are stored as an undecodable dead letter.
    fn what_was_rubbish(&mut self) {
        for (route, bytes) in self.state.queues.garbage.clone() {
            let event = EventId::of_undecodable(&Digester::Plain, &bytes);
            let dead = self.tables.dead.get(&(route.clone(), event));
            let well = dead.is_some_and(|it| it.reason == DeadReason::Undecodable);
            if !well {
                let text = format!("undecodable bytes in {route} are not stored as a dead letter");
                self.violation("I1", text);
            }
        }
    }
}
