//! Reads the rows of the store for the events of one journal, which is the client's record of its
//! requests and their responses. It uses no code of hookbox.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::journal::Journal;
use crate::sql::{Sql, Texts};

/// The name of a route, and an event number.
pub(super) type OnRoute = (String, String);

/// The SQL expression for the event number as text. All tables except `events` have the column
/// `event`.
const EVENT: &str = "cast(event as text)";

/// The outcome of a receipt on one route.
pub(super) struct StoredReceipt {
    pub(super) on: OnRoute,
    pub(super) word: String,
}

/// A row of the table `dead_letters`.
pub(super) struct DeadLetter {
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) attempts: u64,
}

/// What the store holds for the events of one journal (the client's record of its requests).
pub(super) struct Stored {
    /// The outcomes of each receipt, one for each route.
    pub(super) receipts: BTreeMap<String, Vec<StoredReceipt>>,
    /// For each uid of an applicant, the number of rows in the table of scores.
    pub(super) scores: BTreeMap<String, u64>,
    /// For each uid of an applicant, the number of rows in the table of applications.
    pub(super) applications: BTreeMap<String, u64>,
    /// The events that have an effect: for each event number, the uid of the applicant in the row
    /// of the effect.
    pub(super) effects: BTreeMap<String, String>,
    /// For each uid of an applicant, the number of rows that the handler `sql` has written.
    pub(super) by_sql: BTreeMap<String, u64>,
    /// The claims: for each route and event, the state of the claim and its number of attempts.
    pub(super) claims: BTreeMap<OnRoute, (String, u64)>,
    pub(super) dead: BTreeMap<OnRoute, Vec<DeadLetter>>,
    /// The SHA-256 digest of each body by its event number.
    pub(super) bodies: BTreeMap<String, String>,
}

impl Stored {
    /// Reads all rows that may belong to events of the journal.
    pub(super) fn read(sql: &Sql, journal: &Journal) -> Result<Self> {
        let (since, events) = (since(sql, journal), events(sql, journal));
        let (scores, of_scores) = effects(sql, journal, "begini_scores")?;
        let (applications, of_applications) = effects(sql, journal, "begini_applications")?;
        let (by_sql, _) = effects(sql, journal, "chaos_sql")?;
        Ok(Self {
            receipts: receipts(sql, &since)?,
            scores,
            applications,
            effects: of_scores.into_iter().chain(of_applications).collect(),
            by_sql,
            claims: claims(sql, &events)?,
            dead: dead(sql, &events)?,
            bodies: bodies(sql, &events)?,
        })
    }
}

/// Returns an SQL condition that selects the journal's oldest receipt and all later ones. Receipts
/// before it belong to earlier journals.
fn since(sql: &Sql, journal: &Journal) -> String {
    match journal.first_receipt() {
        Some(first) if sql.is_postgres() => format!("receipt_id >= '{first}'"),
        Some(first) => format!("receipt_id >= x'{}'", first.replace('-', "")),
        None => "true".to_owned(),
    }
}

/// Returns the SQL query for the event numbers to check. These are the events of the journal's
/// receipts, and the events that have an effect although their requests got no response.
fn events(sql: &Sql, journal: &Journal) -> String {
    let since = since(sql, journal);
    let of = |table| {
        format!(
            "select event from {table} where uid like 'SIM{:016X}-%'",
            journal.seed
        )
    };
    format!(
        "select event from receipts where {since} union {} union {} union {}",
        of("begini_scores"),
        of("begini_applications"),
        of("chaos_sql")
    )
}

fn receipts(sql: &Sql, since: &str) -> Result<BTreeMap<String, Vec<StoredReceipt>>> {
    let receipt = if sql.is_postgres() {
        "cast(receipt_id as text)".to_owned()
    } else {
        sql.hex("receipt_id")
    };
    let mut receipts: BTreeMap<String, Vec<StoredReceipt>> = BTreeMap::new();
    for row in sql.rows(&format!(
        "select {receipt}, route, {EVENT}, outcome from receipts where {since}"
    ))? {
        let [id, route, event, word] = columns(row)?;
        let on = (route, event);
        receipts
            .entry(dashed(&id))
            .or_default()
            .push(StoredReceipt { on, word });
    }
    Ok(receipts)
}

/// Two maps: for each uid of an applicant the number of rows with effects, and for each event
/// number the uid of the applicant.
type Effects = (BTreeMap<String, u64>, BTreeMap<String, String>);

fn effects(sql: &Sql, journal: &Journal, table: &str) -> Result<Effects> {
    let (mut counts, mut events) = Effects::default();
    for row in sql.rows(&format!(
        "select {EVENT}, uid, cast(count(*) as text) from {table} \
         where uid like 'SIM{:016X}-%' group by event, uid",
        journal.seed
    ))? {
        let [event, uid, count] = columns(row)?;
        *counts.entry(uid.clone()).or_default() += number(&count)?;
        events.insert(event, uid);
    }
    Ok((counts, events))
}

fn claims(sql: &Sql, events: &str) -> Result<BTreeMap<OnRoute, (String, u64)>> {
    let rows = sql.rows(&format!(
        "select route, {EVENT}, state, cast(attempts as text) from claims \
         where event in ({events})"
    ))?;
    let claim = |row| {
        let [route, event, state, attempts] = columns(row)?;
        Ok(((route, event), (state, number(&attempts)?)))
    };
    rows.into_iter().map(claim).collect()
}

fn dead(sql: &Sql, events: &str) -> Result<BTreeMap<OnRoute, Vec<DeadLetter>>> {
    let rows = sql.rows(&format!(
        "select route, {EVENT}, state, reason, cast(attempts as text) from dead_letters \
         where event in ({events})"
    ))?;
    let mut dead: BTreeMap<OnRoute, Vec<DeadLetter>> = BTreeMap::new();
    for row in rows {
        let [route, event, state, reason, attempts] = columns(row)?;
        dead.entry((route, event)).or_default().push(DeadLetter {
            state,
            reason,
            attempts: number(&attempts)?,
        });
    }
    Ok(dead)
}

/// Returns the SHA-256 digest of the body of each of these events.
fn bodies(sql: &Sql, events: &str) -> Result<BTreeMap<String, String>> {
    let body = if sql.is_postgres() {
        "encode(sha256(body), 'hex')"
    } else {
        "lower(hex(body))"
    };
    let mut bodies = BTreeMap::new();
    for row in sql.rows(&format!(
        "select {EVENT}, {body} from bodies where event in ({events})"
    ))? {
        let [event, body] = columns(row)?;
        let digest = if sql.is_postgres() {
            body
        } else {
            let bytes = hex::decode(&body).context("decoding a body from hex")?;
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes))
        };
        bodies.insert(event, digest);
    }
    Ok(bodies)
}

fn number(text: &str) -> Result<u64> {
    text.parse()
        .with_context(|| format!("{text} is not a number"))
}

fn columns<const N: usize>(row: Texts) -> Result<[String; N]> {
    match <[String; N]>::try_from(row) {
        Ok(columns) => Ok(columns),
        Err(row) => bail!("a row must have {N} columns: {row:?}"),
    }
}

/// Formats an id of 32 hex digits with dashes, as a UUID; returns any other text unchanged.
fn dashed(id: &str) -> String {
    if id.len() != 32 {
        return id.to_owned();
    }
    let (a, b, c, d, e) = (&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    format!("{a}-{b}-{c}-{d}-{e}")
}
