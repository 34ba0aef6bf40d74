//! Formats the reports of `events list` and `events show` as text.

use super::Text;
use super::table::{Align, Table, count, next, safe, safe_lines, short};
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
    let mut table = Table::new(&[
        ("ROUTE", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("CLAIMED", Align::Left),
        ("SETTLED", Align::Left),
    ]);
    for claim in &history.claims {
        table.row([
            claim.route.clone(),
            claim.state.to_owned(),
            claim.attempts.to_string(),
            claim.claimed_at.clone(),
            claim.settled_at.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
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
/// only where an id in the body decides which event a receipt belongs to.
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
    let mut table = Table::new(&[
        ("ROUTE", Align::Left),
        ("ATTEMPT", Align::Right),
        ("NOT BEFORE", Align::Left),
        ("QUEUED", Align::Left),
        ("DEFERRED", Align::Left),
        ("SINCE", Align::Left),
    ]);
    for retry in &history.retries {
        table.row([
            retry.route.clone(),
            retry.attempt.to_string(),
            retry.not_before.clone(),
            or_dash(retry.queued_at.as_deref()),
            or_dash(retry.deferred.as_deref()),
            or_dash(retry.deferred_since.as_deref()),
        ]);
    }
    section("retries", history.retries.len(), &table)
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
