//! `reconcile` as text.

use super::table::{Align, Table, count, known, safe, short};
use super::{Text, problems};
use crate::command::reconcile::{InFlight, ReconcileReport, RouteLine, Verdict};

impl Text for ReconcileReport {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            ("ROUTE", Align::Left),
            ("ACCEPTED", Align::Right),
            ("store: DONE", Align::Right),
            ("DUPLICATE", Align::Right),
            ("CONFLICT", Align::Right),
            ("DEAD", Align::Right),
            ("RETRYING", Align::Right),
            ("broker: IN FLIGHT", Align::Left),
        ]);
        for line in &self.routes {
            table.row(cells(line));
        }
        let mut text = table.write("");
        if let Some(dead) = self.dead_queue.as_ref().filter(|dead| !dead.is_empty()) {
            let waiting = in_flight(dead);
            text.push_str(&format!(
                "broker: dead-letter queue not yet collected: {waiting}\n"
            ));
        }
        for imbalance in &self.imbalances {
            text.push_str(&format!(
                "store: imbalance on route {}, event {}: {}\n",
                imbalance.route,
                short(&imbalance.event),
                safe(&imbalance.what),
            ));
        }
        text.push_str(&problems(&self.problems));
        text.push_str(&self.verdict());
        text
    }
}

impl ReconcileReport {
    fn verdict(&self) -> String {
        match self.verdict {
            Verdict::Balanced => "balanced: every receipt has its outcome\n".to_owned(),
            Verdict::Moving if self.waited => {
                "moving: the wait ran out while something was in flight or retrying\n".to_owned()
            }
            Verdict::Moving => {
                "moving: nothing contradicts itself; --wait 30s judges when it is at rest\n"
                    .to_owned()
            }
            Verdict::Imbalanced => {
                let found = self.imbalances.len() as u64;
                let found = count(found, "contradiction", "contradictions");
                format!("imbalanced: {found}; `hookbox events show` tells what happened\n")
            }
            Verdict::Unknown => "unknown: not everybody could be asked\n".to_owned(),
        }
    }
}

fn cells(line: &RouteLine) -> [String; 8] {
    let settled = |of: fn(&crate::command::reconcile::Settled) -> u64| {
        let store = line.store.as_ref();
        store.map_or("-".to_owned(), |store| of(store).to_string())
    };
    [
        line.route.clone(),
        known(line.accepted),
        settled(|store| store.done),
        settled(|store| store.duplicate),
        settled(|store| store.conflict),
        settled(|store| store.dead),
        settled(|store| store.retrying),
        line.broker.as_ref().map_or("-".to_owned(), in_flight),
    ]
}

/// In events where the broker counts them, else in messages.
fn in_flight(queue: &InFlight) -> String {
    match (queue.ready, queue.in_hand, queue.events) {
        (_, _, Some(events)) => count(events, "event", "events"),
        (Some(ready), Some(in_hand), None) => count(ready + in_hand, "message", "messages"),
        (Some(ready), None, None) => {
            format!("{} ready", count(ready, "message", "messages"))
        }
        (None, _, None) => "not told".to_owned(),
    }
}
