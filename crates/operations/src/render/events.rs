//! Formats the reports of `events list` and `events show` as text.

use super::table::{Align, Table, count, next, safe, safe_lines, short};
use super::{Text, targets};
use crate::command::events::{EventReport, EventsReport};
use crate::command::history::{Body, History};

impl Text for EventsReport {
    fn text(&self) -> String {
        if self.events.is_empty() {
            return "store: no events\n".to_owned();
        }
        let mut table = Table::new(&[
            ("EVENT", Align::Left),
            ("ROUTE", Align::Left),
            ("TOPIC", Align::Left),
            ("STATE", Align::Left),
            ("ATTEMPTS", Align::Right),
            ("RECEIVED", Align::Left),
            ("SETTLED", Align::Left),
        ]);
        for event in &self.events {
            table.row([
                short(&event.event),
                event.route.clone(),
                event.topic.clone(),
                event.state.to_owned(),
                event.attempts.to_string(),
                event.received_at.clone(),
                event.settled_at.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        let shown = count(self.events.len() as u64, "event", "events");
        let next = next(self.next.as_deref());
        format!("store: {shown}, newest first\n{}{next}", table.write(""))
    }
}

impl Text for EventReport {
    fn text(&self) -> String {
        let event = &self.history.event;
        let first = match &self.receipt {
            Some(receipt) => format!("store: receipt {receipt} is of event {event}\n"),
            None => format!("store: event {event}\n"),
        };
        first + &history(&self.history)
    }
}

/// Formats the history of an event; the caller writes the event id.
pub(super) fn history(history: &History) -> String {
    let sealed = match &history.sealed_with {
        Some(key) => format!(", sealed with key {}", safe(key)),
        None => String::new(),
    };
    let mut text = format!(
        "  topic     {}\n  received  {}\n  digest    {}\n  body      {}{sealed}\n",
        safe(&history.topic),
        history.received_at,
        history.digest,
        count(history.body_bytes, "byte", "bytes"),
    );
    text.push_str(&claims(history));
    text.push_str(&receipts(history));
    text.push_str(&other_bodies(history));
    text.push_str(&attempts(history));
    text.push_str(&retries(history));
    text.push_str(&body(history.body.as_ref()));
    text
}

fn claims(history: &History) -> String {
    let mut columns = vec![
        ("ROUTE", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("CLAIMED", Align::Left),
        ("SETTLED", Align::Left),
    ];
    // Only events of routes with external calls have leases and so an epoch. Without one, the
    // column is left out.
    let has_epochs = history.claims.iter().any(|claim| claim.epoch.is_some());
    if has_epochs {
        columns.push(("EPOCH", Align::Right));
    }
    let mut table = Table::new(&columns);
    for claim in &history.claims {
        let mut row = vec![
            claim.route.clone(),
            claim.state.to_owned(),
            claim.attempts.to_string(),
            claim.claimed_at.clone(),
            or_dash(claim.settled_at.as_deref()),
        ];
        if has_epochs {
            let epoch = claim.epoch.map(|epoch| epoch.to_string());
            row.push(or_dash(epoch.as_deref()));
        }
        table.row(row);
    }
    section("claims", history.claims.len(), &table)
}

fn receipts(history: &History) -> String {
    let mut table = Table::new(&[
        ("RECEIPT", Align::Left),
        ("ROUTE", Align::Left),
        ("OUTCOME", Align::Left),
        ("KEY", Align::Left),
        ("RECEIVED", Align::Left),
        ("SETTLED", Align::Left),
    ]);
    for receipt in &history.receipts {
        table.row([
            receipt.receipt.clone(),
            receipt.route.clone(),
            receipt.outcome.clone(),
            receipt.key_id.clone(),
            receipt.received_at.clone(),
            receipt.settled_at.clone(),
        ]);
    }
    section("receipts", history.receipts.len(), &table)
}

/// Formats the receipts whose body differs from the stored body of the event. Such receipts exist
/// only if the action of `on_conflict` for the topic of the event is `duplicate`.
fn other_bodies(history: &History) -> String {
    let mut table = Table::new(&[
        ("RECEIPT", Align::Left),
        ("ROUTE", Align::Left),
        ("DIGEST", Align::Left),
    ]);
    let mut rows = 0;
    for receipt in &history.receipts {
        if let Some(digest) = &receipt.other_digest {
            rows += 1;
            table.row([
                receipt.receipt.clone(),
                receipt.route.clone(),
                digest.clone(),
            ]);
        }
    }
    section("receipts with another body", rows, &table)
}

fn attempts(history: &History) -> String {
    if history.attempts.is_empty() {
        return String::new();
    }
    let mut text = "attempts\n".to_owned();
    for attempt in &history.attempts {
        text.push_str(&format!(
            "  {} on {}: {} after {} ms, at {}\n",
            attempt.attempt,
            safe(&attempt.route),
            safe(&attempt.outcome),
            attempt.took_ms,
            attempt.at,
        ));
        if let Some(error) = &attempt.error {
            text.push_str(&safe_lines(error, "      "));
        }
    }
    text
}

fn retries(history: &History) -> String {
    let mut columns = vec![
        ("ROUTE", Align::Left),
        ("ATTEMPT", Align::Right),
        ("NOT BEFORE", Align::Left),
        ("QUEUED", Align::Left),
        ("DEFERRED", Align::Left),
        ("SINCE", Align::Left),
    ];
    let has_targets = history.retries.iter().any(|retry| retry.target.is_some());
    if has_targets {
        columns.push(("TARGET", Align::Left));
    }
    let mut table = Table::new(&columns);
    for retry in &history.retries {
        let mut row = vec![
            retry.route.clone(),
            retry.attempt.to_string(),
            retry.not_before.clone(),
            or_dash(retry.queued_at.as_deref()),
            or_dash(retry.deferred.as_deref()),
            or_dash(retry.deferred_since.as_deref()),
        ];
        if has_targets {
            row.push(or_dash(retry.target.as_deref()));
        }
        table.row(row);
    }
    let reasons = history
        .retries
        .iter()
        .map(|retry| retry.deferred.as_deref());
    let hint = targets::hint(reasons);
    let indent = if hint.is_empty() { "" } else { "  " };
    let section = section("retries", history.retries.len(), &table);
    format!("{section}{indent}{hint}")
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn section(title: &str, rows: usize, table: &Table) -> String {
    if rows == 0 {
        return String::new();
    }
    format!("{title}\n{}", table.write("  "))
}

fn body(body: Option<&Body>) -> String {
    match body {
        None => String::new(),
        Some(Body::Text(text)) => format!("body\n{}", safe_lines(text, "  ")),
        Some(Body::Base64(text)) => format!("body (base64, as it is not text)\n  {text}\n"),
    }
}
