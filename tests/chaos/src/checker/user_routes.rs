//! Checks the user routes. The handler `sql` must have exactly one effect for each event. At the
//! targets of `forward` and `publish`, each event must arrive at least once, each time with the
//! same idempotency key, the same body and a higher epoch.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::Figures;
use super::findings::Findings;
use super::stored::Stored;
use crate::journal::{Class, Journal, SentEvent};
use crate::target_call::{Response, TargetCall};
use crate::targets::Targets;
use crate::user_route::UserRoute;

/// Checks every user route of a case. The caller must have read the calls with [`Targets::gather`].
pub(super) fn check(
    targets: &Targets,
    journal: &Journal,
    stored: &Stored,
    (found, figures): (&mut Findings, &mut Figures),
) {
    for route in targets.routes().all {
        let mut check = RouteCheck {
            route: *route,
            targets,
            stored,
            found: &mut *found,
            figures: &mut *figures,
        };
        for (number, sent) in &journal.events {
            check.event(sent, &journal.uid(*number), journal.is_partial);
        }
        if route.is_external() {
            check.calls(journal);
        }
    }
}

/// The check of one user route, and where it adds its findings.
struct RouteCheck<'a> {
    route: UserRoute,
    targets: &'a Targets,
    stored: &'a Stored,
    found: &'a mut Findings,
    figures: &'a mut Figures,
}

impl RouteCheck<'_> {
    fn event(&mut self, sent: &SentEvent, uid: &str, is_partial: bool) {
        let calls = self.targets.calls_of(self.route, uid);
        let (arrived, taken) = match self.route {
            UserRoute::Sql => {
                let rows = self.stored.by_sql.get(uid).copied().unwrap_or(0);
                (rows, rows)
            }
            UserRoute::Forward | UserRoute::Publish => {
                let taken = calls.iter().filter(|it| it.response == Response::Taken);
                (calls.len() as u64, taken.count() as u64)
            }
        };
        self.arrival(sent, uid, (arrived, taken), is_partial);
        self.repetitions(uid, calls);
        self.outcomes(sent, uid, calls);
    }

    /// Checks that an accepted event has arrived (invariant I1), and that it has only one effect by
    /// `sql` (invariant I3). An event that was not accepted must not have arrived (invariant I4).
    fn arrival(
        &mut self,
        sent: &SentEvent,
        uid: &str,
        (arrived, taken): (u64, u64),
        is_partial: bool,
    ) {
        let name = self.route.as_str();
        let is_accepted = !sent.receipts.is_empty();
        if taken > 1 && !self.route.is_external() {
            self.figures.doubled += 1;
            self.found.add(format!(
                "I3: {uid} has {taken} effects by {name}, but must have one"
            ));
        }
        match sent.class {
            Class::Valid if is_accepted && taken == 0 => {
                self.figures.lost += 1;
                self.found.add(format!(
                    "I1: {uid} was accepted, and has no effect by {name} ({arrived} calls)"
                ));
            }
            Class::Valid if arrived > 0 && !is_accepted && sent.unknown == 0 && !is_partial => {
                self.found.add(format!(
                    "I4: {uid} has an effect by {name} although no request for it was accepted"
                ));
            }
            Class::Tampered | Class::Malformed if arrived > 0 => {
                self.found.add(format!(
                    "I4: {uid} is {:?}, and has an effect by {name}",
                    sent.class
                ));
            }
            Class::Valid | Class::Tampered | Class::Malformed => {}
        }
    }

    /// Checks that all calls for an event have the same idempotency key and the same body, and that
    /// each call has a higher epoch than the call before it (invariant I22).
    fn repetitions(&mut self, uid: &str, calls: &[TargetCall]) {
        let name = self.route.as_str();
        let Some(first) = calls.first() else {
            return;
        };
        for flaw in calls.iter().flat_map(|call| &call.flaws) {
            self.found
                .add(format!("I22: a call for {uid} by {name} is wrong: {flaw}"));
        }
        if calls.iter().any(|call| call.key != first.key) {
            let keys: BTreeSet<&str> = calls.iter().map(|call| call.key.as_str()).collect();
            self.found.add(format!(
                "I22: {uid} was sent by {name} with more than one idempotency key: {keys:?}"
            ));
        }
        if calls.iter().any(|call| call.digest != first.digest) {
            self.found.add(format!(
                "I4: {uid} was sent by {name} with more than one body"
            ));
        }
        let mut epochs: Vec<u32> = calls.iter().map(|call| call.epoch).collect();
        let routes = self.targets.routes();
        if routes.may_time_out && self.route == UserRoute::Publish {
            // A message and its repetition are sent on two connections. After a freeze, the broker
            // may read the repetition first. So the epochs are sorted here.
            epochs.sort_unstable();
        }
        if !epochs.is_sorted_by(|earlier, later| earlier < later) {
            self.found.add(format!(
                "I22: the epochs of {uid} must rise from call to call by {name}: {epochs:?}"
            ));
        }
    }

    /// Checks that an accepted event is done, and that faults cost no attempt (invariant I9). The
    /// body that arrived must be that of the receipt with the outcome `done` (invariant I4).
    fn outcomes(&mut self, sent: &SentEvent, uid: &str, calls: &[TargetCall]) {
        if sent.class != Class::Valid {
            return;
        }
        let name = self.route.as_str();
        let ignored = calls.iter().filter(|it| it.response == Response::Ignored);
        let most = 1 + ignored.count() as u64;
        let is_bounded = !(self.route.is_external() && self.targets.routes().may_time_out);
        for receipt in &sent.receipts {
            let outcomes = self.stored.receipts.get(receipt).into_iter().flatten();
            for outcome in outcomes.filter(|outcome| outcome.on.0 == name) {
                let mut dead = self.stored.dead.get(&outcome.on).into_iter().flatten();
                // A receipt with a known event id and another body (a conflict) is a dead letter,
                // and is not checked here.
                if dead.any(|it| it.reason == "conflict") {
                    continue;
                }
                match self.stored.claims.get(&outcome.on) {
                    Some((state, attempts)) if state == "done" => {
                        if is_bounded && !(1..=most).contains(attempts) {
                            self.found.add(format!(
                                "I9: {uid} is done by {name} after {attempts} attempts, but 1 to \
                                 {most} were allowed"
                            ));
                        }
                    }
                    other => self.found.add(format!(
                        "I1: {uid} must be done by {name}, but its claim is {other:?}"
                    )),
                }
                let sent_digest = sent.digests.get(receipt);
                let is_other = |call: &TargetCall| Some(&call.digest) != sent_digest;
                if outcome.word == "done" && calls.first().is_some_and(is_other) {
                    self.found.add(format!(
                        "I4: {uid} has arrived by {name} with another body than that of its \
                         receipt {receipt}, which is done"
                    ));
                }
            }
        }
    }

    /// Checks that each call is for an event that was sent (invariant I4), and that no two events
    /// have the same idempotency key (invariant I22).
    fn calls(&mut self, journal: &Journal) {
        let name = self.route.as_str();
        let sent: BTreeSet<String> = journal.events.keys().map(|it| journal.uid(*it)).collect();
        let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
        for (uid, calls) in self.targets.calls(self.route) {
            // Any other uid that begins with `SIM` belongs to another journal, and is not checked
            // here.
            let is_ours = journal.is_uid(uid) || !uid.starts_with("SIM");
            if is_ours && !journal.is_partial && !sent.contains(uid) {
                self.found.add(format!(
                    "I4: {uid:?} has arrived by {name} although no event with this uid was sent"
                ));
            }
            let key = calls.first().map_or("", |call| call.key.as_str());
            if let Some(other) = keys.insert(key, uid) {
                self.found.add(format!(
                    "I22: {uid} and {other} have the same idempotency key by {name}: {key}"
                ));
            }
        }
    }
}
