//! `reconcile`: do the books balance? For each route, what was accepted is done, duplicate,
//! conflict, dead, retrying or in flight. The store knows the first five, the broker the last.

use std::collections::BTreeMap;
use std::time::Duration;

use hookbox_driver::{AccountGap, Accounts, Broker, Depth, Ledger, OpenReceipt, Queue, RouteBooks};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::queues::both_sides;
use crate::{Operator, Problem, Reach, Source};

/// Most contradictions that are listed. One is enough to act on, a hundred show the pattern.
const IMBALANCES_MAX: u32 = 100;

/// Most receipts without an outcome that are named.
const OPEN_MAX: u32 = 100;

/// How often a wait looks. Each look is two cheap queries and one question to the broker.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// For how long the books must stand still where the broker does not say what workers have in
/// hand. Longer than a transaction takes, short enough to sit through.
const STILL_FOR: Duration = Duration::from_secs(3);

/// What the books say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was accepted has its outcome, and nothing contradicts itself.
    Balanced,
    /// Nothing contradicts itself, and something is still in flight or waits for a retry.
    Moving,
    /// Something in the tables contradicts itself.
    Imbalanced,
    /// The broker or the store did not answer, so nobody can say.
    Unknown,
}

/// The books.
#[derive(Debug, Clone, Serialize)]
pub struct ReconcileReport {
    /// What they say.
    pub verdict: Verdict,
    /// Whether it was to wait until nothing moves.
    pub waited: bool,
    /// Whether nothing moved for long enough to say that nothing is on its way.
    pub stood: bool,
    /// One line for each route.
    pub routes: Vec<RouteLine>,
    /// Messages in the broker's dead-letter queue that wait to be collected into the store.
    pub dead_queue: Option<InFlight>,
    /// Accounts in the broker's queue that wait to be written into the store.
    pub accounts_queue: Option<InFlight>,
    /// From the store: what ingests say they have answered, and what is not there.
    pub accounts: Option<AccountsLine>,
    /// From the store: what contradicts what, at most 100.
    pub imbalances: Vec<ImbalanceLine>,
    /// What could not be found out.
    pub problems: Vec<Problem>,
}

/// The books of one route.
#[derive(Debug, Clone, Serialize)]
pub struct RouteLine {
    /// The route.
    pub route: String,
    /// Told by ingests: receipts that they answered 200. Less than were accepted where an ingest
    /// was killed before it told, or has not told yet; what was stored although its sender was
    /// answered otherwise is not in it, either.
    pub told: Option<u64>,
    /// Store and broker together: receipts accepted. Null where in flight is known in messages
    /// only. A retry that is in its queue counts in both until it has run.
    pub accepted: Option<u64>,
    /// From the store.
    pub store: Option<Settled>,
    /// From the broker.
    pub broker: Option<InFlight>,
}

/// Receipts by their outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// All that have one.
    pub receipts: u64,
    /// Effects committed.
    pub done: u64,
    /// Of an event that was known.
    pub duplicate: u64,
    /// Another body under a known event id.
    pub conflict: u64,
    /// Given up.
    pub dead: u64,
    /// Waiting for another attempt.
    pub retrying: u64,
}

/// What is in a queue or in the hands of a worker. Null is what the broker would not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Messages that wait; each is a batch of events.
    pub ready: Option<u64>,
    /// Messages in the hands of workers.
    pub in_hand: Option<u64>,
    /// Events in all of them.
    pub events: Option<u64>,
}

/// What ingests say they have answered, beside what has an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountsLine {
    /// Receipts that were answered 200 and have no outcome: in flight, or missing.
    pub open: u64,
    /// The oldest of them, at most 100.
    pub receipts: Vec<OpenReceipt>,
    /// Numbers of which an ingest must have told, and has not; at most 100.
    pub gaps: Vec<AccountGap>,
}

/// Something that contradicts something else.
#[derive(Debug, Clone, Serialize)]
pub struct ImbalanceLine {
    /// The route.
    pub route: String,
    /// The event, 64 hex digits.
    pub event: String,
    /// What contradicts what.
    pub what: String,
}

impl ReconcileReport {
    /// Whether all is as it should be: what the exit code says. Without a wait, it is no fault
    /// that something still moves.
    pub fn is_well(&self) -> bool {
        match self.verdict {
            Verdict::Balanced => true,
            Verdict::Moving => !self.waited,
            Verdict::Imbalanced | Verdict::Unknown => false,
        }
    }
}

/// Reads the books. With `wait`, first waits that long at most until nothing is in flight and
/// nothing waits for a retry.
pub async fn reconcile(
    broker: &Reach<dyn Broker>,
    store: &Reach<dyn Ledger>,
    wait: Option<Duration>,
    operator: &mut dyn Operator,
) -> ReconcileReport {
    let until = Instant::now() + wait.unwrap_or_default();
    let mut stood = false;
    let mut report = read(broker, store).await;
    let mut still_since = Instant::now();
    while Instant::now() < until && !operator.interrupted() {
        if report.is_at_rest() && still_since.elapsed() >= report.still_for() {
            stood = true;
            break;
        }
        sleep(LOOK_EVERY.min(until - Instant::now())).await;
        let next = read(broker, store).await;
        if !next.says_the_same(&report) {
            still_since = Instant::now();
        }
        report = next;
    }
    report.waited = wait.is_some();
    report.stood = stood;
    report.verdict = report.judge();
    report
}

async fn read(broker: &Reach<dyn Broker>, store: &Reach<dyn Ledger>) -> ReconcileReport {
    let (depths, books, mut problems) = both_sides(broker, store).await;
    let mut imbalances = Vec::new();
    if let (Reach::Open(ledger), Some(_)) = (store, &books) {
        match ledger.imbalances(IMBALANCES_MAX).await {
            Ok(found) => imbalances = found,
            Err(fault) => problems.push(Problem::of(Source::Store, &fault)),
        }
    }
    let accounts = match (store, &books) {
        (Reach::Open(ledger), Some(_)) => match ledger.accounts(OPEN_MAX).await {
            Ok(accounts) => Some(accounts),
            Err(fault) => {
                problems.push(Problem::of(Source::Store, &fault));
                None
            }
        },
        (Reach::Open(_) | Reach::Away(_), _) => None,
    };
    let Lines {
        routes,
        dead_queue,
        accounts_queue,
    } = lines(depths, books, accounts.as_ref());
    let mut report = ReconcileReport {
        verdict: Verdict::Unknown,
        waited: false,
        stood: false,
        routes,
        dead_queue,
        accounts_queue,
        accounts: accounts.map(|accounts| AccountsLine {
            open: accounts.open_count,
            receipts: accounts.open,
            gaps: accounts.gaps,
        }),
        imbalances: imbalances
            .into_iter()
            .map(|imbalance| ImbalanceLine {
                route: imbalance.route.to_string(),
                event: imbalance.event.to_string(),
                what: imbalance.what,
            })
            .collect(),
        problems,
    };
    report.verdict = report.judge();
    report
}

/// What the queues and the books come to.
struct Lines {
    routes: Vec<RouteLine>,
    dead_queue: Option<InFlight>,
    accounts_queue: Option<InFlight>,
}

fn lines(
    depths: Option<Vec<Depth>>,
    books: Option<Vec<RouteBooks>>,
    accounts: Option<&Accounts>,
) -> Lines {
    let mut routes: BTreeMap<String, RouteLine> = BTreeMap::new();
    let (mut dead_queue, mut accounts_queue) = (None, None);
    let (broker_answers, store_answers) = (depths.is_some(), books.is_some());
    for depth in depths.unwrap_or_default() {
        let in_flight = InFlight {
            ready: depth.ready,
            in_hand: depth.unsettled,
            events: depth.events,
        };
        match depth.queue {
            Queue::Dead => dead_queue = Some(in_flight),
            Queue::Accounts => accounts_queue = Some(in_flight),
            Queue::Route(route) => {
                let line = RouteLine {
                    route: route.to_string(),
                    told: None,
                    accepted: None,
                    // A route without rows has settled nothing yet.
                    store: store_answers.then(Settled::nothing),
                    broker: Some(in_flight),
                };
                routes.insert(line.route.clone(), line);
            }
        }
    }
    for book in books.unwrap_or_default() {
        let route = book.route.to_string();
        let line = routes.entry(route.clone()).or_insert(RouteLine {
            route,
            told: None,
            accepted: None,
            store: None,
            broker: None,
        });
        line.store = Some(Settled::of(&book));
    }
    let mut routes: Vec<RouteLine> = routes.into_values().collect();
    for line in &mut routes {
        line.accepted = line.accepted().filter(|_| broker_answers);
        line.told = accounts.map(|accounts| {
            let told = accounts.told.iter();
            let mut told = told.filter(|(route, _)| route.as_str() == line.route);
            told.next().map_or(0, |(_, receipts)| *receipts)
        });
    }
    Lines {
        routes,
        dead_queue,
        accounts_queue,
    }
}

impl ReconcileReport {
    fn judge(&self) -> Verdict {
        if !self.imbalances.is_empty() || self.gaps() > 0 || self.missing() > 0 {
            Verdict::Imbalanced
        } else if !self.problems.is_empty() {
            Verdict::Unknown
        } else if self.moves() || self.open() > 0 {
            Verdict::Moving
        } else {
            Verdict::Balanced
        }
    }

    /// Receipts that were answered 200 and have no outcome.
    fn open(&self) -> u64 {
        self.accounts.as_ref().map_or(0, |accounts| accounts.open)
    }

    /// Those of them that are nowhere: everything was waited for, and nothing is on its way.
    pub(crate) fn missing(&self) -> u64 {
        if self.stood { self.open() } else { 0 }
    }

    /// Numbers may be told of in another order than they were given out, until all are told.
    pub(crate) fn gaps(&self) -> usize {
        let gaps = self.accounts.as_ref().map_or(0, |it| it.gaps.len());
        if self.is_at_rest() { gaps } else { 0 }
    }

    fn moves(&self) -> bool {
        let retrying = |line: &RouteLine| line.store.as_ref().is_some_and(|s| s.retrying > 0);
        self.routes.iter().any(retrying) || self.queues().any(|queue| !queue.is_empty())
    }

    fn queues(&self) -> impl Iterator<Item = &InFlight> {
        let routes = self.routes.iter().filter_map(|line| line.broker.as_ref());
        let others = self.dead_queue.iter().chain(&self.accounts_queue);
        routes.chain(others)
    }

    fn is_at_rest(&self) -> bool {
        self.problems.is_empty() && !self.moves()
    }

    /// A message that a worker has in hand is in no queue and not yet in the store: where the
    /// broker does not count it, only time tells.
    fn still_for(&self) -> Duration {
        // So is what an account tells of before it has its outcome.
        if self.open() == 0 && self.queues().all(|queue| queue.in_hand.is_some()) {
            Duration::ZERO
        } else {
            STILL_FOR
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let settled = |report: &Self| -> Vec<(String, Option<Settled>)> {
            let of = |line: &RouteLine| (line.route.clone(), line.store.clone());
            report.routes.iter().map(of).collect()
        };
        self.is_at_rest() == other.is_at_rest()
            && settled(self) == settled(other)
            && self.accounts == other.accounts
    }
}

impl RouteLine {
    fn accepted(&self) -> Option<u64> {
        let settled = self.store.as_ref()?.receipts;
        let in_flight = match &self.broker {
            // A route of the past has no queue, so nothing of it can be in flight.
            None => 0,
            Some(queue) if queue.is_empty() => 0,
            Some(queue) => queue.events?,
        };
        Some(settled + in_flight)
    }
}

impl InFlight {
    /// As far as the broker says.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready == Some(0) && self.in_hand.unwrap_or(0) == 0
    }
}

impl Settled {
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
