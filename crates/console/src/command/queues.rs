//! `queues`: the depth of each queue of the broker, beside what the store has for its route.

use std::collections::BTreeMap;

use hookbox_driver::{
    Backlog, Broker, Depth, Fault, Ledger, NotReadyKind, Queue, Readiness, RouteBooks,
};
use hookbox_event::RouteName;
use serde::Serialize;

use crate::{Problem, Reach, Source};

/// The queues of this environment.
#[derive(Debug, Clone, Serialize)]
pub struct QueuesReport {
    /// One line for each queue.
    pub queues: Vec<QueueLine>,
    /// What could not be found out.
    pub problems: Vec<Problem>,
}

/// One queue.
#[derive(Debug, Clone, Serialize)]
pub struct QueueLine {
    /// What it is for: `route.scores`, or `dead`.
    pub queue: String,
    /// From the broker; null when it is unavailable or has no such queue.
    pub broker: Option<BrokerSide>,
    /// From the store; null when it is unavailable or has nothing for the route.
    pub store: Option<StoreSide>,
}

/// The broker's side of a queue. Null is what it does not report.
#[derive(Debug, Clone, Serialize)]
pub struct BrokerSide {
    /// Its name at the broker.
    pub name: String,
    /// Messages that wait; each is a batch of events.
    pub ready: Option<u64>,
    /// Messages in flight: delivered to workers and not settled.
    pub in_flight: Option<u64>,
    /// Subscriptions.
    pub consumers: Option<u64>,
    /// Events in those messages.
    pub events: Option<u64>,
}

/// The store's side of a route.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StoreSide {
    /// Events that wait for another attempt.
    pub retrying: u64,
    /// Those of them that are deferred without an attempt, by a foreign lock or a missing right.
    pub deferred: u64,
    /// For how long the oldest of those has been deferred, in whole seconds.
    pub deferred_oldest_s: u64,
    /// Dead letters that wait for a decision, conflicts among them: the number that `dead groups`,
    /// `reconcile` and the metric show.
    pub dead: u64,
}

/// Reports on the queues, from those of the two sources that are available.
pub async fn queues(broker: &Reach<dyn Broker>, store: &Reach<dyn Ledger>) -> QueuesReport {
    let (depths, mut problems) = broker_side(broker).await;
    let (backlog, more) = store_side(store, async |ledger| ledger.backlog().await).await;
    problems.extend(more);
    let nothing = backlog.is_some().then_some(StoreSide::NOTHING);
    let mut waiting: BTreeMap<RouteName, StoreSide> = backlog
        .unwrap_or_default()
        .into_iter()
        .map(|one| (one.route.clone(), StoreSide::of(&one)))
        .collect();
    let mut lines: Vec<QueueLine> = depths
        .unwrap_or_default()
        .into_iter()
        .map(|depth| QueueLine {
            queue: depth.queue.to_string(),
            store: match &depth.queue {
                Queue::Route(route) => waiting.remove(route).or(nothing),
                Queue::Dead | Queue::Accounts | Queue::Witness => None,
            },
            broker: Some(BrokerSide::of(depth)),
        })
        .collect();
    // Removed routes have rows and no queue.
    lines.extend(waiting.into_iter().map(|(route, side)| QueueLine {
        queue: Queue::Route(route).to_string(),
        broker: None,
        store: Some(side),
    }));
    QueuesReport {
        queues: lines,
        problems,
    }
}

impl BrokerSide {
    fn of(depth: Depth) -> Self {
        Self {
            name: depth.name,
            ready: depth.ready,
            in_flight: depth.unsettled,
            consumers: depth.consumers,
            events: depth.events,
        }
    }
}

impl StoreSide {
    const NOTHING: Self = Self {
        retrying: 0,
        deferred: 0,
        deferred_oldest_s: 0,
        dead: 0,
    };

    fn of(backlog: &Backlog) -> Self {
        Self {
            retrying: backlog.retrying,
            deferred: backlog.deferred,
            deferred_oldest_s: backlog.deferred_oldest_s,
            dead: backlog.dead,
        }
    }
}

/// Queues that are missing at the broker, or not as declared.
fn topology_problem(broker: &dyn Broker) -> Option<Problem> {
    let Readiness::NotReady { kind, why } = broker.readiness() else {
        return None;
    };
    (kind == NotReadyKind::Topology).then_some(Problem {
        source: Source::Broker,
        what: why,
    })
}

/// Both sides, and what could not be read. The broker is read first: a message that is settled
/// meanwhile is then in both, and never in neither.
pub(super) async fn both_sides(
    broker: &Reach<dyn Broker>,
    store: &Reach<dyn Ledger>,
) -> (Option<Vec<Depth>>, Option<Vec<RouteBooks>>, Vec<Problem>) {
    let (depths, mut problems) = broker_side(broker).await;
    let (books, more) = store_side(store, async |ledger| ledger.books().await).await;
    problems.extend(more);
    (depths, books, problems)
}

async fn broker_side(broker: &Reach<dyn Broker>) -> (Option<Vec<Depth>>, Vec<Problem>) {
    match broker {
        Reach::Open(broker) => match broker.depths().await {
            Ok(depths) => {
                let problems = topology_problem(&**broker).into_iter().collect();
                (Some(depths), problems)
            }
            Err(fault) => (None, vec![Problem::of(Source::Broker, &fault)]),
        },
        Reach::Unavailable(why) => (None, vec![unavailable(Source::Broker, why)]),
    }
}

pub(super) async fn store_side<T>(
    store: &Reach<dyn Ledger>,
    read: impl AsyncFnOnce(&dyn Ledger) -> Result<T, Fault>,
) -> (Option<T>, Vec<Problem>) {
    match store {
        Reach::Open(ledger) => match read(&**ledger).await {
            Ok(found) => (Some(found), Vec::new()),
            Err(fault) => (None, vec![Problem::of(Source::Store, &fault)]),
        },
        Reach::Unavailable(why) => (None, vec![unavailable(Source::Store, why)]),
    }
}

fn unavailable(source: Source, why: &str) -> Problem {
    Problem {
        source,
        what: why.to_owned(),
    }
}
