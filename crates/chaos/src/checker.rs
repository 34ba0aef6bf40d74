//! The one checker: compares what the client saw with what the store holds, by the invariants.
//!
//! It reads the store past every line of hookbox, and so finds what hookbox would not say of
//! itself. Everything that it finds is told at once, each with its invariant's number.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::effects::FAILS_ONCE;
use crate::journal::{Class, Journal, Told};
use crate::sql::Sql;
use crate::world::World;

/// Findings that are told at most: the first few show the pattern.
const TOLD_MAX: usize = 12;

/// What was checked, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Requests made.
    pub attempts: u64,
    /// Requests answered 200.
    pub accepted: u64,
    /// Requests that were answered otherwise, or not at all.
    pub unanswered: u64,
    /// Effects found.
    pub effects: u64,
    /// Dead letters found.
    pub dead: u64,
    /// Answered 200 and nowhere.
    pub lost: u64,
    /// Events with more than one effect.
    pub doubled: u64,
}

impl Figures {
    /// Both together.
    pub fn add(&mut self, other: &Figures) {
        self.attempts += other.attempts;
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.effects += other.effects;
        self.dead += other.dead;
        self.lost += other.lost;
        self.doubled += other.doubled;
    }
}

/// What the store says about the events of one seed.
struct Stored {
    /// Receipts, and their outcomes by route.
    receipts: BTreeMap<String, Vec<String>>,
    /// Effects by applicant.
    scores: BTreeMap<String, u64>,
    applications: BTreeMap<String, u64>,
    /// State and attempts of the claims behind scores.
    claims: BTreeMap<String, (String, u64)>,
    /// Digests of bodies.
    bodies: BTreeSet<String>,
}

/// Checks everything that was sent, once nothing moves any more.
///
/// # Errors
/// When something does not hold.
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
    for (number, told) in &journal.events {
        let uid = journal.uid(*number);
        receipts(&stored, told, &uid, &mut found, &mut figures);
        effects(
            &stored,
            (told, journal.is_partial),
            &uid,
            &mut found,
            &mut figures,
        );
        bodies(&stored, told, &uid, &mut found);
    }
    let sent: BTreeSet<String> = journal.events.keys().map(|it| journal.uid(*it)).collect();
    for uid in stored.scores.keys().chain(stored.applications.keys()) {
        if !journal.is_partial && !sent.contains(uid) {
            found.tell(format!("I4: an effect of {uid}, which was never sent"));
        }
    }
    for table in ["begini_scores", "begini_applications"] {
        let question = format!("select cast(count(*) as text) from {table} where uid like 'X%'");
        if sql.number(&question)? > 0 {
            found.tell(format!("I4: {table} has what was altered after signing"));
        }
    }
    attempts(&stored, &mut found);
    figures.dead = dead_letters(sql, &mut found)?;
    logs(world, &mut found);
    found.end().map(|()| figures)
}

/// I1: everything that was accepted has an outcome.
fn receipts(stored: &Stored, told: &Told, uid: &str, found: &mut Findings, figures: &mut Figures) {
    if told.class == Class::Tampered && !told.receipts.is_empty() {
        found.tell(format!("I4: {uid} was altered after signing, and accepted"));
    }
    if told.class != Class::Tampered && told.refused > 0 {
        found.tell(format!("{uid} is genuine, and was refused"));
    }
    for receipt in &told.receipts {
        match stored.receipts.get(receipt) {
            None => {
                figures.lost += 1;
                found.tell(format!(
                    "I1: receipt {receipt} of {uid} was answered 200, and is nowhere"
                ));
            }
            Some(outcomes) => {
                let ended = ["done", "duplicate", "conflict", "dead"];
                if !outcomes.iter().all(|it| ended.contains(&it.as_str())) {
                    found.tell(format!("I2: receipt {receipt} of {uid} is {outcomes:?}"));
                }
            }
        }
    }
}

/// I3: an event has one effect at most; and one at least when it was accepted.
fn effects(
    stored: &Stored,
    (told, partial): (&Told, bool),
    uid: &str,
    found: &mut Findings,
    figures: &mut Figures,
) {
    let (own, other) = if told.kind.ends_with("score.complete") {
        (&stored.scores, &stored.applications)
    } else {
        (&stored.applications, &stored.scores)
    };
    let count = own.get(uid).copied().unwrap_or(0);
    if other.contains_key(uid) {
        found.tell(format!(
            "I4: {uid} is a {}, and was stored as another",
            told.kind
        ));
    }
    if count > 1 {
        figures.doubled += 1;
        found.tell(format!("I3: {uid} has {count} effects"));
    }
    match told.class {
        Class::Valid if !partial && told.receipts.is_empty() && told.unknown == 0 && count > 0 => {
            found.tell(format!("I4: {uid} has an effect, and nothing was accepted"));
        }
        Class::Valid if !told.receipts.is_empty() && count == 0 => {
            figures.lost += 1;
            found.tell(format!(
                "I1: {uid} was accepted ({}), and has no effect",
                told.receipts.join(", ")
            ));
        }
        Class::Tampered | Class::Malformed if count > 0 => {
            found.tell(format!("I4: {uid} is {:?}, and has an effect", told.class));
        }
        Class::Valid | Class::Tampered | Class::Malformed => {}
    }
}

/// I4: what is stored is what was sent, byte for byte.
fn bodies(stored: &Stored, told: &Told, uid: &str, found: &mut Findings) {
    let accepted = !told.receipts.is_empty();
    if accepted && !told.digests.iter().any(|it| stored.bodies.contains(it)) {
        found.tell(format!(
            "I4: no body that was sent about {uid} is stored as it was"
        ));
    }
}

/// I9: only failures of a handler count.
fn attempts(stored: &Stored, found: &mut Findings) {
    for (uid, (state, attempts)) in &stored.claims {
        let expected = if uid.ends_with(FAILS_ONCE) { 2 } else { 1 };
        if state != "done" || *attempts != expected {
            found.tell(format!(
                "I9: {uid} is {state} after {attempts} attempts; its handler made it {expected}"
            ));
        }
    }
}

/// I10: dead letters are what was made to be one.
fn dead_letters(sql: &Sql, found: &mut Findings) -> Result<u64> {
    let rows = sql.rows(
        "select reason, cast(count(*) as text), cast(max(attempts) as text) \
         from dead_letters group by reason",
    )?;
    let mut sum = 0;
    for row in rows {
        let [reason, count, _] = &row[..] else {
            bail!("dead letters come in threes");
        };
        sum += count.parse::<u64>().context("a count")?;
        if !["malformed", "schema_broken", "conflict", "rejected"].contains(&reason.as_str()) {
            found.tell(format!("I9: {count} dead letters because of {reason}"));
        }
    }
    Ok(sum)
}

/// I19: no secret in any log.
fn logs(world: &World, found: &mut Findings) {
    for (name, text) in world.logs() {
        for secret in world.secrets() {
            if text.contains(secret.as_str()) {
                found.tell(format!("I19: a secret stands in {name}"));
            }
        }
        for word in ["SIM0", "SIM1", "\"uid\"", "panicked at", "a panic at"] {
            if let Some(line) = text.lines().find(|line| line.contains(word)) {
                let line: String = line.chars().take(300).collect();
                found.tell(format!("I19: {word:?} stands in {name}: {line}"));
            }
        }
    }
}

impl Stored {
    fn read(sql: &Sql, journal: &Journal) -> Result<Self> {
        let mark = format!("like 'SIM{:016X}-%'", journal.seed);
        let receipt = if sql.is_postgres() {
            "cast(receipt_id as text)".to_owned()
        } else {
            sql.hex("receipt_id")
        };
        let mut receipts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let since = since(sql, journal);
        for row in sql.rows(&format!(
            "select {receipt}, outcome from receipts where {since}"
        ))? {
            let [id, outcome] = two(row)?;
            receipts.entry(dashed(&id)).or_default().push(outcome);
        }
        let effects = |table: &str| {
            let question = format!(
                "select uid, cast(count(*) as text) from {table} where uid {mark} group by uid"
            );
            counts(sql.rows(&question)?)
        };
        let claims = sql.rows(&format!(
            "select distinct s.uid, c.state, cast(c.attempts as text) from begini_scores s \
             join claims c on c.event_id = s.event_id and c.route = 'scores' where s.uid {mark}"
        ))?;
        let claims = claims.into_iter().map(|row| {
            let mut row = row.into_iter();
            let (uid, state) = (
                row.next().unwrap_or_default(),
                row.next().unwrap_or_default(),
            );
            let attempts = row.next().unwrap_or_default();
            Ok((uid, (state, attempts.parse().context("attempts")?)))
        });
        Ok(Self {
            receipts,
            scores: effects("begini_scores")?,
            applications: effects("begini_applications")?,
            claims: claims.collect::<Result<_>>()?,
            bodies: bodies_of(sql, &since)?,
        })
    }
}

/// Receipts that may be the journal's.
fn since(sql: &Sql, journal: &Journal) -> String {
    match journal.first_receipt() {
        Some(first) if sql.is_postgres() => format!("receipt_id >= '{first}'"),
        Some(first) => format!("receipt_id >= x'{}'", first.replace('-', "")),
        None => "true".to_owned(),
    }
}

/// SHA-256 of every body behind those receipts.
fn bodies_of(sql: &Sql, since: &str) -> Result<BTreeSet<String>> {
    let body = if sql.is_postgres() {
        "encode(sha256(body), 'hex')"
    } else {
        "lower(hex(body))"
    };
    let rows = sql.rows(&format!(
        "select {body} from events \
         where event_id in (select event_id from receipts where {since})"
    ))?;
    if sql.is_postgres() {
        return Ok(rows.into_iter().flatten().collect());
    }
    let digest = |row: Vec<String>| {
        let bytes = hex::decode(row.first().map_or("", String::as_str)).unwrap_or_default();
        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes))
    };
    Ok(rows.into_iter().map(digest).collect())
}

fn counts(rows: Vec<Vec<String>>) -> Result<BTreeMap<String, u64>> {
    let one = |row| {
        let [name, count] = two(row)?;
        Ok((name, count.parse().context("a count")?))
    };
    rows.into_iter().map(one).collect()
}

fn two(row: Vec<String>) -> Result<[String; 2]> {
    <[String; 2]>::try_from(row).map_err(|row| anyhow::anyhow!("not two columns: {row:?}"))
}

/// An id of 32 hex digits as others are written; any other as it is.
fn dashed(id: &str) -> String {
    if id.len() != 32 {
        return id.to_owned();
    }
    let (a, b, c, d, e) = (&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[derive(Default)]
struct Findings {
    told: Vec<String>,
    more: usize,
}

impl Findings {
    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        } else {
            self.more += 1;
        }
    }

    fn end(self) -> Result<()> {
        if self.told.is_empty() {
            return Ok(());
        }
        let more = match self.more {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        bail!("{}{more}", self.told.join("\n"))
    }
}

/// I2: in the books, nothing is in flight and nothing waits.
///
/// # Errors
/// When something is.
pub fn books(books: &Value) -> Result<()> {
    for route in books["routes"].as_array().context("routes")? {
        let waiting = &route["store"]["retrying"];
        if waiting != 0 {
            bail!("I2: {waiting} retrying at rest: {route:#}");
        }
    }
    Ok(())
}
