//! The checker: compares the responses that the client got with the rows in the store, and reports
//! each broken invariant.
//!
//! The checker reads the store without any code of hookbox, so that it finds what hookbox itself
//! does not report. It reports all findings together, each with the number of its invariant.

mod figures;
mod findings;
mod stored;
mod user_routes;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::effects::{FAILS_ALWAYS, FAILS_ONCE};
use crate::journal::{Class, Journal, SentEvent};
use crate::plan::ATTEMPTS;
use crate::sql::Sql;
use crate::world::World;
pub use figures::Figures;
use findings::Findings;
pub use findings::figures_of;
use stored::{OnRoute, Stored};

/// Checks every event that the client sent. The caller must have waited until no event is in
/// flight.
///
/// # Errors
/// When an invariant does not hold.
pub fn check(world: &World, journal: &Journal) -> Result<Figures> {
    let sql = &world.place.sql;
    let stored = Stored::read(sql, journal)?;
    let mut found = Findings::default();
    let mut figures = Figures {
        attempts: journal.attempts,
        accepted: journal.accepted,
        unanswered: journal.attempts - journal.accepted,
        effects: stored.scores.values().sum::<u64>() + stored.applications.values().sum::<u64>(),
        ..Figures::default()
    };
    for (number, sent) in &journal.events {
        let uid = journal.uid(*number);
        receipts(&stored, sent, &uid, &mut found, &mut figures);
        effects(
            &stored,
            (sent, journal.is_partial),
            &uid,
            &mut found,
            &mut figures,
        );
        bodies(&stored, sent, &uid, &mut found);
        ends(&stored, sent, &uid, &mut found);
    }
    once(&stored, &mut found);
    let sent: BTreeSet<String> = journal.events.keys().map(|it| journal.uid(*it)).collect();
    for uid in stored.scores.keys().chain(stored.applications.keys()) {
        if !journal.is_partial && !sent.contains(uid) {
            found.add(format!(
                "I4: {uid} has an effect although no event with this uid was sent"
            ));
        }
    }
    for table in ["begini_scores", "begini_applications", "chaos_sql"] {
        let question = format!("select cast(count(*) as text) from {table} where uid like 'X%'");
        if sql.number(&question)? > 0 {
            found.add(format!(
                "I4: {table} has a row of an event that was altered after signing"
            ));
        }
    }
    attempts(&stored, &mut found);
    let results = (&mut found, &mut figures);
    user_routes::check(&world.targets, journal, &stored, results);
    figures.dead = reasons(sql, &mut found)?;
    logs(world, &mut found);
    found.end(figures)
}

/// Checks that every accepted receipt has an outcome (invariant I1).
fn receipts(
    stored: &Stored,
    sent: &SentEvent,
    uid: &str,
    found: &mut Findings,
    figures: &mut Figures,
) {
    if sent.class == Class::Tampered && !sent.receipts.is_empty() {
        found.add(format!(
            "I4: {uid} was accepted although it was altered after signing"
        ));
    }
    if sent.class != Class::Tampered && sent.refused > 0 {
        found.add(format!(
            "the event {uid} was refused although its signature is genuine"
        ));
    }
    for receipt in &sent.receipts {
        match stored.receipts.get(receipt) {
            None => {
                figures.lost += 1;
                found.add(format!(
                    "I1: receipt {receipt} of {uid} was answered 200, but is not in the store"
                ));
            }
            Some(outcomes) => {
                let ended = ["done", "duplicate", "conflict", "dead"];
                for it in outcomes
                    .iter()
                    .filter(|it| !ended.contains(&it.word.as_str()))
                {
                    found.add(format!(
                        "I2: receipt {receipt} of {uid} is still {} although all work has drained",
                        it.word
                    ));
                }
            }
        }
    }
}

/// Checks that an accepted event has exactly one effect, and any other event at most one
/// (invariants I1 and I3).
fn effects(
    stored: &Stored,
    (sent, partial): (&SentEvent, bool),
    uid: &str,
    found: &mut Findings,
    figures: &mut Figures,
) {
    let (own, other) = if sent.kind.ends_with("score.complete") {
        (&stored.scores, &stored.applications)
    } else {
        (&stored.applications, &stored.scores)
    };
    let count = own.get(uid).copied().unwrap_or(0);
    if other.contains_key(uid) {
        found.add(format!(
            "I4: {uid} was sent as {} and is stored with another event type",
            sent.kind
        ));
    }
    if count > 1 {
        figures.doubled += 1;
        found.add(format!("I3: {uid} has {count} effects, not one"));
    }
    if sent.class == Class::Valid && sent.receipts.is_empty() && sent.unknown > 0 && count > 0 {
        figures.stored_unanswered += 1;
    }
    match sent.class {
        Class::Valid if !partial && sent.receipts.is_empty() && sent.unknown == 0 && count > 0 => {
            found.add(format!(
                "I4: {uid} has an effect although no request for it was accepted"
            ));
        }
        Class::Valid if fails_always(sent, uid) => {
            if count > 0 {
                found.add(format!(
                    "I4: {uid} has an effect although its handler must fail at every attempt"
                ));
            }
        }
        Class::Valid if !sent.receipts.is_empty() && count == 0 => {
            figures.lost += 1;
            found.add(format!(
                "I1: {uid} has no effect although it was accepted ({})",
                sent.receipts.join(", ")
            ));
        }
        Class::Tampered | Class::Malformed if count > 0 => {
            found.add(format!(
                "I4: {uid} has an effect although it is {:?}",
                sent.class
            ));
        }
        Class::Valid | Class::Tampered | Class::Malformed => {}
    }
}

/// Checks that the stored body of each receipt is the one that was sent, byte for byte (invariant
/// I4). This also holds for a receipt whose body differs from that of an earlier receipt of the
/// same event.
fn bodies(stored: &Stored, sent: &SentEvent, uid: &str, found: &mut Findings) {
    for (receipt, digest) in &sent.digests {
        for outcome in stored.receipts.get(receipt).into_iter().flatten() {
            if stored.bodies.get(&outcome.on.1) != Some(digest) {
                found.add(format!(
                    "I4: receipt {receipt} of {uid} is {}, and its stored body is not the sent one",
                    outcome.word
                ));
            }
        }
    }
}

/// Checks that an event that cannot be processed has a dead letter on each of its routes, with the
/// right reason and number of attempts (invariant I10).
fn ends(stored: &Stored, sent: &SentEvent, uid: &str, found: &mut Findings) {
    let outcomes = sent
        .receipts
        .iter()
        .filter_map(|it| stored.receipts.get(it));
    for outcome in outcomes.flatten() {
        // Only the tables of the route for scores have a trigger that makes events fail.
        let must_fail = outcome.on.0 == "scores" && fails_always(sent, uid);
        let reasons: &[&str] = match sent.class {
            Class::Malformed => &["malformed", "schema_broken", "rejected"],
            Class::Valid if must_fail => &["exhausted", "conflict"],
            // A second body for a valid event becomes a dead letter with the reason `conflict`.
            Class::Valid => &["conflict"],
            Class::Tampered => &[],
        };
        let dead = stored.dead.get(&outcome.on).map_or(&[][..], Vec::as_slice);
        let is_first = !matches!(outcome.word.as_str(), "conflict" | "duplicate");
        let must_die = match sent.class {
            Class::Malformed => true,
            Class::Valid => must_fail && is_first || outcome.word == "conflict",
            Class::Tampered => false,
        };
        if must_die && dead.is_empty() {
            found.add(format!(
                "I10: {uid} must have a dead letter, but its outcome is {}",
                outcome.word
            ));
        }
        for dead_letter in dead {
            let attempts = match dead_letter.reason.as_str() {
                "exhausted" => ATTEMPTS..=ATTEMPTS,
                // A dead letter with another reason than `exhausted` may have fewer attempts, and a
                // replay may have added some. So only the maximum is checked.
                _ => 0..=ATTEMPTS,
            };
            if !reasons.contains(&dead_letter.reason.as_str())
                || !attempts.contains(&dead_letter.attempts)
            {
                found.add(format!(
                    "I10: {uid} has a dead letter with the wrong reason ({}) or attempts ({})",
                    dead_letter.reason, dead_letter.attempts
                ));
            }
        }
    }
}

/// Checks that no event has both an effect and a dead letter (invariant I2), and that no event has
/// two dead letters on one route (invariant I10).
fn once(stored: &Stored, found: &mut Findings) {
    for (on, dead_letters) in &stored.dead {
        if dead_letters.len() > 1 {
            found.add(format!(
                "I10: {on:?} has {} dead letters, not one",
                dead_letters.len()
            ));
        }
        if let Some(uid) = stored.effects.get(&on.1)
            && dead_letters
                .iter()
                .any(|dead_letter| dead_letter.state == "dead")
        {
            found.add(format!("I2: {uid} has both an effect and a dead letter"));
        }
    }
}

fn fails_always(sent: &SentEvent, uid: &str) -> bool {
    sent.kind.ends_with("score.complete") && uid.ends_with(FAILS_ALWAYS)
}

/// Checks that the number of attempts of each event equals the number of runs that its handler
/// needs: two if the case makes the first run fail, otherwise one. Faults of a dependency must not
/// add any attempts (invariant I9).
fn attempts(stored: &Stored, found: &mut Findings) {
    for (event, uid) in &stored.effects {
        let is_score = stored.scores.contains_key(uid);
        let route = if is_score { "scores" } else { "applications" };
        let on: OnRoute = (route.to_owned(), event.clone());
        let expected = if is_score && uid.ends_with(FAILS_ONCE) {
            2
        } else {
            1
        };
        match stored.claims.get(&on) {
            Some((state, attempts)) if state == "done" && *attempts == expected => {}
            Some((state, attempts)) => found.add(format!(
                "I9: {uid} is {state} after {attempts} attempts; done after {expected} was expected"
            )),
            None => found.add(format!(
                "I9: {uid} has an effect but no claim on route {route}"
            )),
        }
    }
}

/// Checks that every dead letter has one of the reasons that the sent events can cause, and none
/// that a fault of a dependency caused (invariant I9). Discarded dead letters are left out, because
/// only the case itself discards any. Returns the number of checked dead letters.
fn reasons(sql: &Sql, found: &mut Findings) -> Result<u64> {
    let rows = sql.rows(
        "select reason, cast(count(*) as text) from dead_letters \
         where state <> 'discarded' group by reason",
    )?;
    let known = [
        "malformed",
        "schema_broken",
        "conflict",
        "rejected",
        "exhausted",
    ];
    let mut sum = 0;
    for row in rows {
        let [reason, count] = &row[..] else {
            bail!("a row of dead letters must have two columns: {row:?}");
        };
        sum += count
            .parse::<u64>()
            .context("reading the count of dead letters")?;
        if !known.contains(&reason.as_str()) {
            found.add(format!(
                "I9: {count} dead letters have the unexpected reason {reason}"
            ));
        }
    }
    Ok(sum)
}

/// Checks that no log contains a secret, a part of a body (invariant I19), or a panic.
fn logs(world: &World, found: &mut Findings) {
    for (name, text) in world.logs() {
        for secret in world.secrets() {
            if text.contains(secret.as_str()) {
                found.add(format!("I19: the log file {name} contains a secret"));
            }
        }
        for word in ["SIM0", "SIM1", "\"uid\"", "panicked at", "a panic at"] {
            if let Some(line) = text.lines().find(|line| line.contains(word)) {
                let line: String = line.chars().take(300).collect();
                found.add(format!(
                    "I19: the log file {name} contains {word:?}: {line}"
                ));
            }
        }
    }
}

/// Checks that the report of `hookbox reconcile` shows no event that still waits for a retry.
/// (Invariant I2 says what must hold when no work is left.)
///
/// # Errors
/// When an event waits for a retry.
pub fn books(books: &Value) -> Result<()> {
    let routes = books["routes"].as_array();
    for route in routes.context("reading the routes in the report of `hookbox reconcile`")? {
        let waiting = &route["store"]["retrying"];
        if waiting != 0 {
            bail!("I2: {waiting} events still wait for a retry: {route:#}");
        }
    }
    Ok(())
}
