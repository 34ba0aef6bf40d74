//! `reconcile`: does everything that was accepted have an outcome? For each route, an accepted
//! receipt is done, duplicate, conflict, dead, retrying or in its queue. The store knows the first
//! five, the broker the last.

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

/// Most contradictions that are listed. One is enough to act on, a hundred show the pattern.
const IMBALANCES_MAX: u32 = 100;

/// Most receipts without an outcome that are named.
const OPEN_MAX: u32 = 100;

/// Most accepted restores that are listed.
const ACCEPTED_MAX: u32 = 10;

/// Poll interval of a wait. Each poll is two cheap queries and one request to the broker.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// When a receipt without an outcome is overdue. Far longer than any handler may run and than a
/// worker pauses; one that waits in its queue is not overdue, however long it waits.
pub const OVERDUE: Duration = Duration::from_secs(600);

/// How long a worker that is cut off from the store may have a message in flight where the broker
/// does not count those: RabbitMQ redelivers it after half an hour
/// (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>), and checks once a minute.
pub const IN_FLIGHT_MAX: Duration = Duration::from_secs(35 * 60);

/// The result of reconciling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every accepted receipt has its outcome, and there is no contradiction.
    Balanced,
    /// There is no contradiction, and something is still in flight or waits for a retry.
    Moving,
    /// The tables contradict each other.
    Imbalanced,
    /// The broker or the store did not answer, so the result is unknown.
    Unknown,
}

/// The report of `reconcile`.
#[derive(Debug, Clone, Serialize)]
pub struct ReconcileReport {
    /// The result.
    pub verdict: Verdict,
    /// Whether it was to wait until all work is done.
    pub waited: bool,
    /// Whether all queues were empty and nothing changed for long enough to conclude that nothing
    /// is in flight.
    pub at_rest: bool,
    /// One line for each route.
    pub routes: Vec<RouteLine>,
    /// Messages in the broker's dead-letter queue that wait to be collected into the store.
    pub dead_queue: Option<QueueContents>,
    /// Accept reports in the broker's queue that wait to be written into the store.
    pub accept_report_queue: Option<QueueContents>,
    /// From the store: dead letters that wait for a decision, conflicts among them; the number of
    /// `queues`, `dead groups` and the metric.
    pub dead_letters: Option<u64>,
    /// From the store: what ingests have reported, and what has no outcome.
    pub accept_reports: Option<AcceptReportsLine>,
    /// How store and broker contradict each other, and which contradictions were accepted before;
    /// null where they are one file, or where one of them is unavailable.
    pub witness: Option<WitnessLine>,
    /// What cannot be known from what is left.
    pub unknown: Vec<Unknown>,
    /// Where no queue holds anything and a receipt has no outcome: for how many seconds nothing may
    /// change until it counts as missing.
    pub missing_after_seconds: Option<u64>,
    /// From the store: contradictions, at most 100.
    pub imbalances: Vec<ImbalanceLine>,
    /// What could not be read.
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
    /// Reported by ingests: receipts that they answered 200. Fewer than were accepted where an
    /// ingest was killed before it reported, or has not reported yet; what was stored although its
    /// sender was answered otherwise is not in it, either.
    pub reported: Option<u64>,
    /// Reported, and without an outcome: in flight, or missing.
    pub open: Option<u64>,
    /// Reported, lost, and written off by an operator.
    pub written_off: Option<u64>,
    /// Store and broker added up: receipts accepted. Null where the content of the queue is known
    /// in messages only. A retry that is in its queue counts in both until it has run.
    pub accepted: Option<u64>,
    /// From the store.
    pub store: Option<OutcomeCounts>,
    /// From the broker.
    pub broker: Option<QueueContents>,
}

/// Receipts by their outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeCounts {
    /// All that have one.
    pub receipts: u64,
    /// Effects committed.
    pub done: u64,
    /// Of an event that was known already.
    pub duplicate: u64,
    /// Another body under a known event id.
    pub conflict: u64,
    /// Given up on: dead letters.
    pub dead: u64,
    /// Waiting for another attempt.
    pub retrying: u64,
}

/// The content of a queue, messages in flight included. Null is what the broker does not report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueContents {
    /// Messages that wait; each is a batch of events.
    pub ready: Option<u64>,
    /// Messages in flight: delivered to workers and not settled.
    pub in_flight: Option<u64>,
    /// Events in all of them.
    pub events: Option<u64>,
}

/// What ingests have reported, compared with what has an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptReportsLine {
    /// Receipts that were answered 200 and have no outcome: in flight, or missing.
    pub open: u64,
    /// The oldest of them, at most 100.
    pub receipts: Vec<OpenReceipt>,
    /// Those of the listed that are missing: nothing is in flight any more, or everything that was
    /// answered after them has its outcome.
    pub missing: Vec<OpenReceipt>,
    /// Sequence gaps that should have been reported and were not; at most 100.
    pub gaps: Vec<AccountGap>,
    /// Ingests that ended without reporting their last numbers; at most 100.
    pub unvouched: Vec<Unvouched>,
}

/// Whether store and broker still match each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessLine {
    /// How they contradict each other; null where they do not.
    pub mismatch: Option<Mismatch>,
    /// Contradictions that an operator has accepted, newest first, at most 10.
    pub accepted: Vec<AcceptedRestore>,
}

/// Where store and broker keep their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In one file, so that restoring one restores the other.
    OneFile,
    /// Separately.
    Apart,
}

/// A contradiction.
#[derive(Debug, Clone, Serialize)]
pub struct ImbalanceLine {
    /// The route.
    pub route: String,
    /// The event, 64 hex digits.
    pub event: String,
    /// The contradiction, in words.
    pub what: String,
}

impl ReconcileReport {
    /// Whether the exit code is 0. Without a wait, work in progress is no failure.
    pub fn is_ok(&self) -> bool {
        match self.verdict {
            Verdict::Balanced => true,
            Verdict::Moving => !self.waited,
            Verdict::Imbalanced | Verdict::Unknown => false,
        }
    }
}

/// Reads the accounting. With `wait`, first waits that long at most until nothing is in flight and
/// nothing waits for a retry. Where the broker does not report what is in flight, a receipt without
/// an outcome is missing once nothing has changed for `in_flight_max`: as long as a worker may have
/// one in flight.
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

/// Reads the accounting once more, after something was written off. What was at rest before still
/// is, if no queue holds anything.
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
    // Before the outcomes: a receipt that is reported meanwhile must not look as if it had none.
    let (reports, mut found) = reports::read(store).await;
    let (depths, books, problems) = both_sides(broker, store).await;
    // A source that cannot be reached is named once.
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
    /// Once, at the end: it does not change from poll to poll.
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
            // A side that does not answer at all is a problem already.
            Err((source, _)) if self.problems.iter().any(|it| it.source == source) => {}
            Err((source, fault)) => self.problems.push(Problem::of(source, &fault)),
        }
    }
}

impl RouteLine {
    fn accepted(&self) -> Option<u64> {
        let settled = self.store.as_ref()?.receipts;
        let in_flight = match &self.broker {
            // A removed route has no queue, so nothing of it can be in flight.
            None => 0,
            Some(queue) if queue.is_empty() => 0,
            Some(queue) => queue.events?,
        };
        Some(settled + in_flight)
    }
}

impl QueueContents {
    /// As far as the broker reports.
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
