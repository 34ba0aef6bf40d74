//! `reconcile`: checks that every accepted receipt has an outcome on each of its routes. Either the
//! store has the outcome (done, duplicate, conflict, dead or retrying), or the broker still has the
//! receipt in the route's queue.

use std::time::Duration;

use hookbox_driver::{Broker, Fault, Imbalance, Ledger, RouteControls};
use tokio::time::{Instant, sleep};

use super::queues::both_sides;
use super::witness;
use crate::{Operator, Problem, Reach, Source};

mod accept;
mod judge;
mod lines;
mod reconcile_report;
mod reports;
mod unknown;
mod write_off;

pub use accept::{AcceptRestore, RestoreAccepted, accept_restore};
pub use judge::{IN_FLIGHT_MAX, OVERDUE};
pub use reconcile_report::{
    AcceptReportsLine, ImbalanceLine, NotConfigured, OutcomeCounts, QueueContents, ReconcileReport,
    RouteLine, Storage, Verdict, WitnessLine,
};
pub use unknown::Unknown;
pub use write_off::{WriteOff, WrittenOff, write_off};

/// How many imbalances (contradictions between rows of the store) are listed at most. A single
/// imbalance is enough for an operator to act, and a hundred show what they have in common.
const IMBALANCES_MAX: u32 = 100;

/// How many of the restores that operators have accepted are listed at most.
const ACCEPTED_MAX: u32 = 10;

/// The pause between two polls while the command waits. Each poll is two cheap queries to the store
/// and one request to the broker.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How many events one message holds at most. At the rate that an operator has set for a route, a
/// worker takes a message only when the time for the events of the one before has passed. So the
/// next message may be in flight for as long.
const EVENTS_OF_MESSAGE: u64 = 64;

/// Reads what ingests have reported, which receipts have an outcome, and what the queues hold, and
/// compares these numbers. With `wait`, first waits until nothing is in flight or retrying, but at
/// most for that time. If the broker does not report messages in flight, a receipt without an
/// outcome counts as missing once nothing has changed for `in_flight_max`: the longest time for
/// which a worker may have a receipt in flight.
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

/// Reads the numbers again after a write-off, and compares them as [`reconcile`] does. No wait is
/// needed: if nothing was in flight before the write-off, and since then no queue holds anything
/// and no other receipt is open, nothing is in flight now.
pub async fn reconcile_again(
    broker: &Reach<dyn Broker>,
    store: &Reach<dyn Ledger>,
    before: &ReconcileReport,
) -> ReconcileReport {
    let mut report = read(broker, store).await;
    report.waited = before.waited;
    report.at_rest = before.at_rest && report.is_quiet() && !report.opens_more_than(before);
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
    // If the store cannot be reached, both `reports::read` and `both_sides` return this problem.
    // Only the one from `both_sides` is listed in the report.
    found.retain(|_| books.is_some());
    found.extend(problems);
    let (mut imbalances, mut dead_letters) = (Vec::new(), None);
    let mut controls = RouteControls::default();
    if let (Ok((ledger, _)), Some(_)) = (store.opened(), &books) {
        match ledger.backlog().await {
            Ok(routes) => dead_letters = Some(routes.iter().map(|route| route.dead).sum()),
            Err(fault) => found.push(Problem::of(Source::Store, &fault)),
        }
        match ledger.controls().await {
            Ok(read) => controls = read,
            Err(fault) => found.push(Problem::of(Source::Store, &fault)),
        }
        match ledger.imbalances(IMBALANCES_MAX).await {
            Ok(listed) => imbalances = listed,
            Err(fault) => found.push(Problem::of(Source::Store, &fault)),
        }
    }
    let reports = reports.filter(|_| books.is_some());
    let lines = lines::of(
        depths,
        books,
        reports.as_ref().map(|it| &it.accounts),
        &controls,
    );
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
        waits_for_rate: waits_for_rate(&controls),
        dead_letters,
        missing_after_seconds: None,
        accept_reports: accounts.map(|(accounts, unvouched)| AcceptReportsLine {
            open: accounts.open_count(),
            receipts: accounts.open,
            missing: Vec::new(),
            gaps: accounts.gaps,
            unvouched,
        }),
        not_configured: Vec::new(),
        imbalances: imbalances.into_iter().map(imbalance_line).collect(),
        problems: found,
    };
    report.conclude();
    report
}

fn imbalance_line(imbalance: Imbalance) -> ImbalanceLine {
    ImbalanceLine {
        route: imbalance.route.to_string(),
        event: imbalance.event.map(|event| event.to_string()),
        what: imbalance.what,
    }
}

/// Returns how long a message may wait for the rates that operators have set.
fn waits_for_rate(controls: &RouteControls) -> Duration {
    let rates = controls.rows().iter();
    let rates = rates.filter_map(|row| row.limits.rate_per_worker);
    let waits = rates.map(|rate| rate.time_for(EVENTS_OF_MESSAGE));
    waits.max().unwrap_or_default()
}

impl ReconcileReport {
    /// Compares the store with the broker's witness messages. This is done once, after the wait,
    /// because the result does not change from poll to poll.
    async fn compare_witnesses(&mut self, broker: &Reach<dyn Broker>, store: &Reach<dyn Ledger>) {
        let (Ok((broker, _)), Ok((ledger, _))) = (broker.opened(), store.opened()) else {
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
            // If the same side (the broker or the store) could not be read before, its problem is
            // listed already.
            Err((source, _)) if self.problems.iter().any(|it| it.source == source) => {}
            Err((source, fault)) => self.problems.push(Problem::of(source, &fault)),
        }
    }
}
