//! Formats the reports of `reconcile` as text.

use super::pauses::pauses;
use super::table::{Align, Table, count, known, safe, short};
use super::witness::witness;
use super::{Text, problems};
use crate::command::reconcile::{
    NotConfigured, QueueContents, ReconcileReport, RestoreAccepted, RouteLine, Unknown, Verdict,
    WrittenOff,
};

/// The report recommends a value of `--wait`: the time for which nothing may change, plus this
/// number of seconds. These seconds cover the first reading and the pause between two polls.
const WAIT_MORE: u64 = 10;

/// The columns of the table of routes.
const COLUMNS: [(&str, Align); 9] = [
    ("ROUTE", Align::Left),
    ("ACCEPTED", Align::Right),
    ("ingest: REPORTED", Align::Right),
    ("store: DONE", Align::Right),
    ("DUPLICATE", Align::Right),
    ("CONFLICT", Align::Right),
    ("DEAD", Align::Right),
    ("RETRYING", Align::Right),
    ("broker: IN QUEUE", Align::Left),
];

/// The index at which the column `STALE` is inserted: before the column `DEAD`.
const STALE_COLUMN: usize = 6;

impl Text for ReconcileReport {
    fn text(&self) -> String {
        // Only routes with the setting `newest` have stale events. Without any, the column is left
        // out.
        let stale = |line: &RouteLine| line.store.as_ref().map_or(0, |store| store.stale);
        let has_stale = self.routes.iter().any(|line| stale(line) > 0);
        let mut columns = COLUMNS.to_vec();
        if has_stale {
            columns.insert(STALE_COLUMN, ("STALE", Align::Right));
        }
        let mut table = Table::new(&columns);
        for line in &self.routes {
            let mut cells = cells(line).to_vec();
            if has_stale {
                cells.insert(STALE_COLUMN, stale(line).to_string());
            }
            table.row(cells);
        }
        let mut text = table.write("");
        if let Some(dead) = self.dead_queue.as_ref().filter(|dead| !dead.is_empty()) {
            let waiting = contents(dead);
            text.push_str(&format!(
                "broker: dead-letter queue not yet collected: {waiting}\n"
            ));
        }
        if let Some(waiting) = self
            .accept_report_queue
            .as_ref()
            .filter(|it| !it.is_empty())
        {
            let waiting = contents(waiting);
            text.push_str(&format!(
                "broker: accept reports not yet written to the store: {waiting}\n"
            ));
        }
        text.push_str(&self.witness.as_ref().map_or_else(String::new, witness));
        if let Some(dead) = self.dead_letters.filter(|dead| *dead > 0) {
            text.push_str(&format!(
                "store: dead letters that wait for a decision: {dead} (`hookbox dead groups`)\n"
            ));
        }
        text.push_str(&pauses(self.routes.iter().filter_map(|line| {
            Some((line.route.as_str(), line.paused.as_ref()?))
        })));
        text.push_str(&self.not_configured());
        text.push_str(&self.accept_reports());
        text.push_str(&self.unknown());
        for line in self.routes.iter().filter(|line| line.short() > 0) {
            let short = count(line.short(), "receipt", "receipts");
            text.push_str(&format!(
                "GONE: {short} of route {} had an outcome, and their rows were removed\n",
                line.route
            ));
        }
        for imbalance in &self.imbalances {
            let event = imbalance.event.as_deref();
            text.push_str(&format!(
                "store: imbalance on route {}{}: {}\n",
                imbalance.route,
                event.map_or(String::new(), |event| format!(", event {}", short(event))),
                safe(&imbalance.what),
            ));
        }
        text.push_str(&problems(&self.problems));
        text.push_str(&self.verdict());
        text
    }
}

impl Text for RestoreAccepted {
    fn text(&self) -> String {
        match &self.accepted {
            None => "store and broker agree, so there was nothing to accept\n".to_owned(),
            Some(mismatch) => format!("store: accepted that {}\n", mismatch.describe()),
        }
    }
}

impl Text for WrittenOff {
    fn text(&self) -> String {
        let what = if self.receipts + self.gaps == 0 {
            "nothing is missing, so nothing was written off".to_owned()
        } else {
            format!("store: written off {}", self.written_off)
        };
        let afterwards = match self.verdict {
            Some(Verdict::Balanced) => "afterwards: balanced\n",
            Some(Verdict::Moving) => "afterwards: moving\n",
            Some(Verdict::Imbalanced) => "afterwards: imbalanced\n",
            Some(Verdict::Unknown) => "afterwards: unknown\n",
            None => "",
        };
        format!("{what}\n{afterwards}")
    }
}

impl ReconcileReport {
    /// Formats what ingests have reported. Receipts are listed by their ids only if it is certain
    /// that they are missing.
    fn accept_reports(&self) -> String {
        let Some(accounts) = &self.accept_reports else {
            return String::new();
        };
        let mut text = String::new();
        if self.missing() > 0 {
            for open in &accounts.missing {
                text.push_str(&format!(
                    "MISSING: receipt {} of route {} was answered 200 and is neither \
                     queued nor stored (number {} of ingest {})\n",
                    open.receipt, open.route, open.number, open.instance
                ));
            }
            let more = self.missing().saturating_sub(accounts.missing.len() as u64);
            if more > 0 {
                text.push_str(&format!("MISSING: and {more} more\n"));
            }
        }
        if accounts.open > self.missing() {
            let open = accounts.open - self.missing();
            let open = count(open, "receipt", "receipts");
            text.push_str(&match self.missing_after_seconds {
                None => format!("answered 200 and still queued or in flight: {open}\n"),
                Some(seconds) => format!(
                    "answered 200 and without an outcome: {open}; no queue holds anything, so \
                     such receipts count as missing when nothing has changed for {seconds} s \
                     (--wait {}s waits for that)\n",
                    seconds + WAIT_MORE
                ),
            });
        }
        for silent in &accounts.unvouched {
            let absent = count(silent.absent, "number", "numbers");
            text.push_str(&format!(
                "UNVOUCHED: ingest {} ended without reporting numbers {} to {}; the store does \
                 not know {absent} of them: the publish was refused, or the receipt is lost\n",
                silent.instance,
                silent.reported + 1,
                silent.seen
            ));
        }
        if self.gaps() > 0 {
            for gap in self.sure_gaps() {
                text.push_str(&format!(
                    "UNREPORTED: ingest {} never reported sequence numbers {} to {}\n",
                    gap.instance, gap.first, gap.last
                ));
            }
        }
        text
    }

    /// Formats a line for each route that is not in the config but has waiting events.
    fn not_configured(&self) -> String {
        let lines = self.not_configured.iter().map(|waiting| {
            let NotConfigured { route, retrying } = waiting;
            let receipts = count(*retrying, "receipt waits", "receipts wait");
            format!(
                "NOT IN THE CONFIG: {receipts} for an attempt on route {}, which no worker makes \
                 until the route is in the config again\n",
                safe(route)
            )
        });
        lines.collect()
    }

    /// Formats what `reconcile` cannot know. Leaves out what earlier lines of the report already
    /// say.
    fn unknown(&self) -> String {
        let mut text = String::new();
        for one in &self.unknown {
            let line = match one {
                Unknown::YoungGap(gap) => format!(
                    "UNKNOWN: ingest {} has not reported the numbers {} to {}, though it reported \
                     later ones {} s ago: their receipts are in flight, or lost; `reconcile` \
                     decides this after ten minutes, or with --wait\n",
                    gap.instance, gap.first, gap.last, gap.seconds
                ),
                Unknown::Unreported(_) => continue,
                Unknown::SilentIngest(silent) => format!(
                    "UNKNOWN: ingest {} has not closed and has reported nothing for {} s: if it \
                     was killed, what it accepted after number {} is unreported\n",
                    silent.instance, silent.seconds, silent.reported
                ),
                Unknown::RestoredFile => "UNKNOWN: whether the file was restored to an older \
                    state: store and broker are this one file, and there is nothing to compare it \
                    with\n"
                    .to_owned(),
            };
            text.push_str(&line);
        }
        text
    }

    fn verdict(&self) -> String {
        match self.verdict {
            Verdict::Balanced if self.unknown.is_empty() => {
                "balanced: every receipt has its outcome\n".to_owned()
            }
            Verdict::Balanced => {
                "balanced: every receipt that is known has its outcome; what is unknown is listed \
                 above\n"
                    .to_owned()
            }
            Verdict::Moving if self.waited => {
                "moving: the time of --wait ended while something was in flight or retrying\n"
                    .to_owned()
            }
            Verdict::Moving => {
                "moving: no contradiction found; --wait 30s waits until all work is done\n"
                    .to_owned()
            }
            Verdict::Imbalanced => {
                let (missing, gaps) = (self.missing(), self.gaps() as u64);
                let gone = self.routes.iter().map(RouteLine::short).sum();
                let contradicts = u64::from(self.mismatch().is_some());
                let found = [
                    (
                        contradicts,
                        "contradiction of store and broker",
                        "contradictions of store and broker",
                    ),
                    (missing, "missing receipt", "missing receipts"),
                    (gone, "receipt gone", "receipts gone"),
                    (gaps, "unreported range", "unreported ranges"),
                    (
                        self.imbalances.len() as u64,
                        "contradiction",
                        "contradictions",
                    ),
                ];
                let found = found.into_iter().filter(|(number, ..)| *number > 0);
                let found = found.map(|(number, one, more)| count(number, one, more));
                let found = found.collect::<Vec<_>>().join(", ");
                format!("imbalanced: {found}; `hookbox events show` has the history of an event\n")
            }
            Verdict::Unknown if self.lacks_only_the_spool() => {
                "unknown: the events in the spool of this machine could not be counted\n".to_owned()
            }
            Verdict::Unknown => "unknown: the broker or the store did not answer\n".to_owned(),
        }
    }
}

fn cells(line: &RouteLine) -> [String; 9] {
    let settled = |of: fn(&crate::command::reconcile::OutcomeCounts) -> u64| {
        let store = line.store.as_ref();
        store.map_or("-".to_owned(), |store| of(store).to_string())
    };
    [
        line.route.clone(),
        known(line.accepted),
        known(line.reported),
        settled(|store| store.done),
        settled(|store| store.duplicate),
        settled(|store| store.conflict),
        settled(|store| store.dead),
        settled(|store| store.retrying),
        line.broker.as_ref().map_or("-".to_owned(), contents),
    ]
}

/// Formats what a queue holds: as a number of events if the broker counts events, and otherwise as
/// a number of messages.
fn contents(queue: &QueueContents) -> String {
    match (queue.ready, queue.in_flight, queue.events) {
        (_, _, Some(events)) => count(events, "event", "events"),
        (Some(ready), Some(in_flight), None) => count(ready + in_flight, "message", "messages"),
        (Some(ready), None, None) => {
            format!("{} ready", count(ready, "message", "messages"))
        }
        (None, _, None) => "not reported".to_owned(),
    }
}
