//! The report of `reconcile`.

use std::time::Duration;

use hookbox_driver::{AcceptedRestore, AccountGap, Mismatch, OpenReceipt, SilentIngest, Unvouched};
use serde::Serialize;

use super::unknown::Unknown;
use crate::Problem;
use crate::command::pause_line::PauseLine;

/// The result of `reconcile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every accepted receipt has its outcome, and nothing contradicts that.
    Balanced,
    /// There is no contradiction, but something is in flight or waits for a retry.
    Moving,
    /// The tables of the store contradict each other, or receipts are missing.
    Imbalanced,
    /// The broker, the store or this machine's spool could not be read, so the result is unknown.
    Unknown,
}

/// The report of `reconcile`.
#[derive(Debug, Clone, Serialize)]
pub struct ReconcileReport {
    /// The result of the comparison.
    pub verdict: Verdict,
    /// Whether `--wait` was given, so that the command waited until all work was done, but not
    /// longer than the given time.
    pub waited: bool,
    /// Whether all queues were empty and nothing has changed for so long that nothing can be in
    /// flight any more.
    pub at_rest: bool,
    /// One line for each route.
    pub routes: Vec<RouteLine>,
    /// Messages in the broker's dead-letter queue that have not been collected into the store yet.
    pub dead_queue: Option<QueueContents>,
    /// Accept reports in the broker's queue that have not been stored yet.
    pub accept_report_queue: Option<QueueContents>,
    /// How many dead letters wait for a decision, including conflicts, according to the store.
    /// `queues`, `dead groups` and the metric `hookbox_dead_letters` show the same number.
    pub dead_letters: Option<u64>,
    /// What ingests have reported and what has no outcome, according to the store.
    pub accept_reports: Option<AcceptReportsLine>,
    /// How the store and the witness messages at the broker contradict each other now, and the
    /// contradictions that operators have accepted before (`reconcile --accept-restore`). Null if
    /// store and broker are one file, or if one of them is unavailable.
    pub witness: Option<WitnessLine>,
    /// What cannot be found out, even though the store and the broker were read.
    pub unknown: Vec<Unknown>,
    /// How many seconds must pass without any change until the receipts without an outcome count as
    /// missing. Null if there are no such receipts, or if a queue is not empty.
    pub missing_after_seconds: Option<u64>,
    /// Routes that are not in the config, and for which events wait.
    pub not_configured: Vec<NotConfigured>,
    /// Contradictions between tables of the store; at most 100.
    pub imbalances: Vec<ImbalanceLine>,
    /// What could not be read from the broker, the store or this machine's spool, and why.
    pub problems: Vec<Problem>,
    #[serde(skip)]
    pub(super) silent: Vec<SilentIngest>,
    #[serde(skip)]
    pub(super) storage: Storage,
    /// How long the rates that operators have set let a message wait in flight at most.
    #[serde(skip)]
    pub(super) waits_for_rate: Duration,
}

/// The accounting of one route.
#[derive(Debug, Clone, Serialize)]
pub struct RouteLine {
    /// The name of the route.
    pub route: String,
    /// How many receipts of the route ingests have reported as answered 200. It is less than the
    /// number of accepted receipts if an ingest has not reported some of them yet, or was killed
    /// before it reported them. It does not include receipts that were stored although their sender
    /// got another answer than 200.
    pub reported: Option<u64>,
    /// How many of the reported receipts have no outcome: they are in their queue, in flight or
    /// missing.
    pub open: Option<u64>,
    /// How many of the reported receipts are lost and were written off by an operator.
    pub written_off: Option<u64>,
    /// How many accepted receipts the route has: those with an outcome in the store plus those in
    /// the queue. A retry that was put back into its queue counts twice until its attempt has run.
    /// Null if the broker counts only messages, and not the events in them.
    pub accepted: Option<u64>,
    /// How many receipts have each outcome, according to the store.
    pub store: Option<OutcomeCounts>,
    /// What the route's queue holds, as the broker reports it.
    pub broker: Option<QueueContents>,
    /// The pause of the route by an operator; null if it is not paused. What waits on a paused
    /// route is not overdue.
    pub paused: Option<PauseLine>,
}

/// How many receipts of a route have each outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeCounts {
    /// The number of all receipts that have an outcome.
    pub receipts: u64,
    /// Receipts of events that are done: their effects are committed.
    pub done: u64,
    /// Receipts of events that the route had claimed already.
    pub duplicate: u64,
    /// Receipts with another body for a known event id.
    pub conflict: u64,
    /// Receipts of events that the route has given up on.
    pub dead: u64,
    /// Receipts of events that were older than a done event of the same key.
    pub stale: u64,
    /// Receipts of events that wait for another attempt.
    pub retrying: u64,
}

/// What a queue holds, including messages in flight. What the broker does not report is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueContents {
    /// The number of messages that wait in the queue. Each message is a batch, so the number of
    /// events may be larger.
    pub ready: Option<u64>,
    /// The number of messages in flight: delivered to workers and not settled yet.
    pub in_flight: Option<u64>,
    /// The number of events in the messages, waiting or in flight.
    pub events: Option<u64>,
}

/// What ingests have reported, compared with the outcomes in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptReportsLine {
    /// How many receipts were answered 200 and have no outcome: queued, in flight or missing.
    pub open: u64,
    /// The oldest of the receipts without an outcome, at most 100.
    pub receipts: Vec<OpenReceipt>,
    /// Those of the listed receipts that are missing: either nothing is in flight any more, or
    /// receipts that were answered later already have their outcomes.
    pub missing: Vec<OpenReceipt>,
    /// Ranges of sequence numbers that ingests have not reported although the reports are overdue;
    /// at most 100.
    pub gaps: Vec<AccountGap>,
    /// Ingests that ended without reporting their last sequence numbers; at most 100.
    pub unvouched: Vec<Unvouched>,
}

/// Whether store and broker belong together and neither was restored from a backup, as their
/// witness messages show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessLine {
    /// How the store and the witness messages at the broker contradict each other; null if they do
    /// not.
    pub mismatch: Option<Mismatch>,
    /// The restores that an operator has accepted, each with the contradiction of store and broker
    /// that it explained: newest first, at most 10.
    pub accepted: Vec<AcceptedRestore>,
}

/// Whether store and broker keep their data in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Store and broker are one file, so restoring the file restores both.
    OneFile,
    /// Store and broker keep their data in separate places, so one can be restored without the
    /// other.
    Apart,
}

/// A contradiction between tables of the store.
#[derive(Debug, Clone, Serialize)]
pub struct ImbalanceLine {
    /// The route of the contradictory rows.
    pub route: String,
    /// The event id, 32 hex digits; null when the event itself is not stored.
    pub event: Option<String>,
    /// What contradicts what, in words.
    pub what: String,
}

/// A route that is not in the config, but has events that wait for an attempt. No worker makes
/// these attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotConfigured {
    /// The name of the route.
    pub route: String,
    /// How many receipts the waiting events have.
    pub retrying: u64,
}

impl ReconcileReport {
    /// Adds to the report the routes that are not in the config and for which events wait.
    pub fn compare_config(&mut self, is_configured: impl Fn(&str) -> bool) {
        let others = self
            .routes
            .iter()
            .filter(|line| !is_configured(&line.route));
        let waiting = others.filter_map(|line| {
            let retrying = line.store.as_ref().map_or(0, |store| store.retrying);
            (retrying > 0).then(|| NotConfigured {
                route: line.route.clone(),
                retrying,
            })
        });
        self.not_configured = waiting.collect();
    }

    /// Returns whether the command succeeds (exit code 0). Work in progress is a failure only with
    /// `--wait`.
    pub fn is_ok(&self) -> bool {
        match self.verdict {
            Verdict::Balanced => true,
            Verdict::Moving => !self.waited,
            Verdict::Imbalanced | Verdict::Unknown => false,
        }
    }
}

impl QueueContents {
    /// Returns whether the queue is empty, as far as the broker reports that.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready == Some(0) && self.in_flight.unwrap_or(0) == 0
    }
}
