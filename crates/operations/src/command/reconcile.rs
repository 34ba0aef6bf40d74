//! `reconcile`: checks that every accepted receipt has an outcome on each of its routes. Either the
//! store has the outcome (done, duplicate, conflict, dead or retrying), or the broker still has the
//! receipt in the route's queue.

use std::time::Duration;

use hookbox_driver::{
    AcceptedRestore, AccountGap, Broker, Fault, Ledger, Mismatch, OpenReceipt, RouteBooks,
    SilentIngest, Unvouched,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::queues::both_sides;
use super::witness;
use crate::{Operator, Problem, Reach, Source};

mod accept;
mod judge;
mod lines;
mod reports;
mod unknown;
mod write_off;

pub use accept::{AcceptRestore, RestoreAccepted, accept_restore};
pub use unknown::Unknown;
pub use write_off::{WriteOff, WrittenOff, write_off};

/// How many contradictions are listed at most. A single one is enough for an operator to act, and a
/// hundred show what they have in common.
const IMBALANCES_MAX: u32 = 100;

/// The most receipts without an outcome that are listed.
const OPEN_MAX: u32 = 100;

/// The most accepted restores that are listed.
const ACCEPTED_MAX: u32 = 10;

/// The pause between two polls while the command waits. Each poll is two cheap queries to the store
/// and one request to the broker.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The age at which a receipt without an outcome is overdue. It is far longer than any handler may
/// run and any worker pauses a route. A receipt that still waits in its queue is never overdue.
pub const OVERDUE: Duration = Duration::from_secs(600);

/// For brokers that do not report messages in flight: how long a worker that has lost its
/// connection to the store may keep a message in flight. RabbitMQ redelivers such a message after
/// half an hour (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>), and checks for
/// that once a minute.
pub const IN_FLIGHT_MAX: Duration = Duration::from_secs(35 * 60);

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
    /// The broker or the store could not be read, so the result is unknown.
    Unknown,
}

/// The report of `reconcile`.
#[derive(Debug, Clone, Serialize)]
pub struct ReconcileReport {
    /// The result.
    pub verdict: Verdict,
    /// Whether `--wait` was given: then the command waits, for a limited time, until work is done.
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
    /// `queues`, `dead groups` and the metric show the same number.
    pub dead_letters: Option<u64>,
    /// What ingests have reported and what has no outcome, according to the store.
    pub accept_reports: Option<AcceptReportsLine>,
    /// The contradiction of store and broker, and the contradictions that were accepted before.
    /// Null if store and broker are one file, or if one of them is unavailable.
    pub witness: Option<WitnessLine>,
    /// What the store and the broker do not suffice to find out.
    pub unknown: Vec<Unknown>,
    /// How many seconds must pass without any change until the receipts without an outcome count as
    /// missing. Null unless there are such receipts and every queue is empty.
    pub missing_after_seconds: Option<u64>,
    /// Contradictions between tables of the store; at most 100.
    pub imbalances: Vec<ImbalanceLine>,
    /// What could not be read from the broker or the store, and why.
    pub problems: Vec<Problem>,
    #[serde(skip)]
    silent: Vec<SilentIngest>,
    #[serde(skip)]
    storage: Storage,
}

/// The accounting of one route.
#[derive(Debug, Clone, Serialize)]
pub struct RouteLine {
    /// The route.
    pub route: String,
    /// How many receipts of the route ingests have reported as answered 200. It is less than the
    /// number of accepted receipts if an ingest has not reported some yet, or was killed before it
    /// could. It does not include receipts that were stored although their sender got another
    /// answer than 200.
    pub reported: Option<u64>,
    /// How many of the reported receipts have no outcome: in their queue, in flight or missing.
    pub open: Option<u64>,
    /// How many of the reported receipts are lost and were written off by an operator.
    pub written_off: Option<u64>,
    /// How many receipts the route has accepted: those with an outcome in the store plus those in
    /// the queue. Null if the broker counts only messages, and not the events in them. A retry that
    /// is in its queue counts twice until its attempt has run.
    pub accepted: Option<u64>,
    /// How many receipts have each outcome, according to the store.
    pub store: Option<OutcomeCounts>,
    /// What the route's queue holds, as the broker reports it.
    pub broker: Option<QueueContents>,
}

/// How many receipts of a route have each outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeCounts {
    /// The number of all receipts that have an outcome.
    pub receipts: u64,
    /// Receipts of events that are done: their effects are committed.
    pub done: u64,
    /// Receipts of an event that was known already.
    pub duplicate: u64,
    /// Receipts with another body for a known event id.
    pub conflict: u64,
    /// Receipts of events that the route has given up on.
    pub dead: u64,
    /// Receipts of events that wait for another attempt.
    pub retrying: u64,
}

/// What a queue holds, including messages in flight. What the broker does not report is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueContents {
    /// The number of messages that wait in the queue. Each message is a batch of events.
    pub ready: Option<u64>,
    /// The number of messages in flight: delivered to workers and not settled yet.
    pub in_flight: Option<u64>,
    /// The number of events in the messages, waiting or in flight.
    pub events: Option<u64>,
}

/// What ingests have reported, compared with the outcomes in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptReportsLine {
    /// How many receipts were answered 200 and have no outcome: they are in flight or missing.
    pub open: u64,
    /// The oldest of the receipts without an outcome, at most 100.
    pub receipts: Vec<OpenReceipt>,
    /// Those of the listed receipts that are missing: either nothing is in flight any more, or
    /// everything that was answered after them already has its outcome.
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
    /// How store and broker contradict each other; null if they do not.
    pub mismatch: Option<Mismatch>,
    /// The contradictions that an operator has accepted, newest first, at most 10.
    pub accepted: Vec<AcceptedRestore>,
}

/// Whether store and broker keep their data in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Store and broker are one file, so restoring the file restores both.
    OneFile,
    /// In separate places.
    Apart,
}

/// A contradiction between tables of the store.
#[derive(Debug, Clone, Serialize)]
pub struct ImbalanceLine {
    /// The route.
    pub route: String,
    /// The event id, 64 hex digits.
    pub event: String,
    /// What contradicts what, in words.
    pub what: String,
}

impl ReconcileReport {
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

/// Reads the accounting and compares it. With `wait`, it first waits until nothing is in flight or
/// retrying, but not longer than that. If the broker does not report messages in flight, a receipt
/// without an outcome counts as missing once nothing has changed for `in_flight_max`, which is the
/// longest time for which a worker may have the receipt in flight.
pub async fn reconcile(
    broker: &Reach<dyn Broker>,
    store: &Reach<dyn Ledger>,
    storage: Storage,
    wait: Option<Duration>,
    in_flight_max: Duration,
    operator: &mut dyn Operator,
) -> ReconcileReport {
    let until = Instant::now() + wait.unwrap_or_default();
    let mut report = read(broker, store).await;
    let mut still_since = Instant::now();
    let stands = |report: &ReconcileReport, since: Instant| {
        report.is_quiet() && since.elapsed() >= report.still_for(in_flight_max)
    };
    while Instant::now() < until && !operator.interrupted() {
        if report.is_at_rest() && stands(&report, still_since) {
            break;
        }
        sleep(POLL_INTERVAL.min(until - Instant::now())).await;
        let next = read(broker, store).await;
        if !next.says_the_same(&report) {
            still_since = Instant::now();
        }
        report = next;
    }
    if storage == Storage::Apart {
        report.compare_witnesses(broker, store).await;
    }
    report.storage = storage;
    report.waited = wait.is_some();
    report.at_rest = wait.is_some() && stands(&report, still_since);
    report.missing_after_seconds = report.missing_after(in_flight_max);
    report.conclude();
    report
}

/// Reads the accounting after a write-off and compares it again. If every queue is still empty, it
/// need not wait again to conclude that nothing is in flight.
pub async fn reconcile_again(
    broker: &Reach<dyn Broker>,
    store: &Reach<dyn Ledger>,
    before: &ReconcileReport,
) -> ReconcileReport {
    let mut report = read(broker, store).await;
    report.waited = before.waited;
    report.at_rest = before.at_rest && report.is_quiet();
    report.storage = before.storage;
    report.witness = before.witness.clone();
    report.missing_after_seconds = before.missing_after_seconds;
    report.conclude();
    report
}

async fn read(broker: &Reach<dyn Broker>, store: &Reach<dyn Ledger>) -> ReconcileReport {
    // The accept reports are read before the outcomes. In the other order, a receipt that gets its
    // outcome and is reported between the two reads would seem to have no outcome.
    let (reports, mut found) = reports::read(store).await;
    let (depths, books, problems) = both_sides(broker, store).await;
    // If the store cannot be reached, both reads report it. Only the second report is kept.
    found.retain(|_| books.is_some());
    found.extend(problems);
    let (mut imbalances, mut dead_letters) = (Vec::new(), None);
    if let (Reach::Open(ledger), Some(_)) = (store, &books) {
        match ledger.backlog().await {
            Ok(routes) => dead_letters = Some(routes.iter().map(|route| route.dead).sum()),
            Err(fault) => found.push(Problem::of(Source::Store, &fault)),
        }
        match ledger.imbalances(IMBALANCES_MAX).await {
            Ok(listed) => imbalances = listed,
            Err(fault) => found.push(Problem::of(Source::Store, &fault)),
        }
    }
    let reports = reports.filter(|_| books.is_some());
    let lines = lines::of(depths, books, reports.as_ref().map(|it| &it.accounts));
    let (accounts, silent) = match reports {
        Some(it) => (Some((it.accounts, it.unvouched)), it.silent),
        None => (None, Vec::new()),
    };
    let mut report = ReconcileReport {
        verdict: Verdict::Unknown,
        waited: false,
        at_rest: false,
        routes: lines.routes,
        dead_queue: lines.dead_queue,
        accept_report_queue: lines.accept_report_queue,
        witness: None,
        unknown: Vec::new(),
        silent,
        storage: Storage::Apart,
        dead_letters,
        missing_after_seconds: None,
        accept_reports: accounts.map(|(accounts, unvouched)| AcceptReportsLine {
            open: accounts.open_count(),
            receipts: accounts.open,
            missing: Vec::new(),
            gaps: accounts.gaps,
            unvouched,
        }),
        imbalances: imbalances
            .into_iter()
            .map(|imbalance| ImbalanceLine {
                route: imbalance.route.to_string(),
                event: imbalance.event.to_string(),
                what: imbalance.what,
            })
            .collect(),
        problems: found,
    };
    report.conclude();
    report
}

impl ReconcileReport {
    /// Compares the store with the broker's witness messages. This is done once, after the wait,
    /// because the result does not change from poll to poll.
    async fn compare_witnesses(&mut self, broker: &Reach<dyn Broker>, store: &Reach<dyn Ledger>) {
        let (Reach::Open(broker), Reach::Open(ledger)) = (broker, store) else {
            return;
        };
        let compared = async {
            let mismatch = witness::compare(&**broker, &**ledger).await?;
            let accepted = ledger.accepted_restores(ACCEPTED_MAX).await;
            let accepted = accepted.map_err(|fault| (Source::Store, fault))?;
            Ok::<_, (Source, Fault)>(WitnessLine { mismatch, accepted })
        };
        match compared.await {
            Ok(line) => self.witness = Some(line),
            // If this source already failed before, its problem is already listed.
            Err((source, _)) if self.problems.iter().any(|it| it.source == source) => {}
            Err((source, fault)) => self.problems.push(Problem::of(source, &fault)),
        }
    }
}

impl RouteLine {
    fn accepted(&self) -> Option<u64> {
        let settled = self.store.as_ref()?.receipts;
        let in_flight = match &self.broker {
            // A route that was removed from the config has no queue, so none of its receipts can be
            // in flight.
            None => 0,
            Some(queue) if queue.is_empty() => 0,
            Some(queue) => queue.events?,
        };
        Some(settled + in_flight)
    }
}

impl QueueContents {
    /// Returns whether the queue is empty, as far as the broker reports that.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready == Some(0) && self.in_flight.unwrap_or(0) == 0
    }
}

impl OutcomeCounts {
    fn nothing() -> Self {
        Self {
            receipts: 0,
            done: 0,
            duplicate: 0,
            conflict: 0,
            dead: 0,
            retrying: 0,
        }
    }

    fn of(book: &RouteBooks) -> Self {
        Self {
            receipts: book.receipts(),
            done: book.done,
            duplicate: book.duplicate,
            conflict: book.conflict,
            dead: book.dead,
            retrying: book.retrying,
        }
    }
}
