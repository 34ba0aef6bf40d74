//! `queues`: how much waits in each queue of the broker, with the store's side beside it.

use std::collections::BTreeMap;

use hookbox_driver::{Broker, Depth, Ledger, NotReadyKind, Queue, Readiness, RouteBooks};
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
    /// What the broker says; null when it is away or has no such queue.
    pub broker: Option<BrokerSide>,
    /// What the store says of the route; null when it is away or has none.
    pub store: Option<StoreSide>,
}

/// The broker's side of a queue. Null is what it would not say.
#[derive(Debug, Clone, Serialize)]
pub struct BrokerSide {
    /// Its name at the broker.
    pub name: String,
    /// Messages that wait; each is a batch of events.
    pub ready: Option<u64>,
    /// Messages in the hands of workers.
    pub in_hand: Option<u64>,
    /// Subscriptions.
    pub consumers: Option<u64>,
    /// Events in those messages.
    pub events: Option<u64>,
}

/// The store's side of a route.
#[derive(Debug, Clone, Serialize)]
pub struct StoreSide {
    /// Receipts whose event waits for another attempt.
    pub retrying: u64,
    /// Receipts whose event is a dead letter.
    pub dead: u64,
}

/// Reports on the queues, with whatever of the two sides is there.
pub async fn queues(broker: &Reach<dyn Broker>, store: &Reach<dyn Ledger>) -> QueuesReport {
    let (depths, books, problems) = both_sides(broker, store).await;
    let mut books: BTreeMap<RouteName, RouteBooks> = books
        .unwrap_or_default()
        .into_iter()
        .map(|book| (book.route.clone(), book))
        .collect();
    let mut lines: Vec<QueueLine> = depths
        .unwrap_or_default()
        .into_iter()
        .map(|depth| QueueLine {
            queue: depth.queue.to_string(),
            store: match &depth.queue {
                Queue::Route(route) => books.remove(route).map(StoreSide::of),
                Queue::Dead | Queue::Accounts => None,
            },
            broker: Some(BrokerSide::of(depth)),
        })
        .collect();
    // Routes of the past have rows and no queue.
    lines.extend(books.into_values().map(|book| QueueLine {
        queue: Queue::Route(book.route.clone()).to_string(),
        broker: None,
        store: Some(StoreSide::of(book)),
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
            in_hand: depth.unsettled,
            consumers: depth.consumers,
            events: depth.events,
        }
    }
}

impl StoreSide {
    fn of(book: RouteBooks) -> Self {
        Self {
            retrying: book.retrying,
            dead: book.dead,
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

/// What both sides say, and what could not be found out. The broker is asked first: a message
/// that is settled meanwhile is then in both, and never in neither.
pub(super) async fn both_sides(
    broker: &Reach<dyn Broker>,
    store: &Reach<dyn Ledger>,
) -> (Option<Vec<Depth>>, Option<Vec<RouteBooks>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let depths = match broker {
        Reach::Open(broker) => match broker.depths().await {
            Ok(depths) => {
                problems.extend(topology_problem(&**broker));
                Some(depths)
            }
            Err(fault) => {
                problems.push(Problem::of(Source::Broker, &fault));
                None
            }
        },
        Reach::Away(why) => {
            problems.push(Problem {
                source: Source::Broker,
                what: why.clone(),
            });
            None
        }
    };
    let books = match store {
        Reach::Open(ledger) => match ledger.books().await {
            Ok(books) => Some(books),
            Err(fault) => {
                problems.push(Problem::of(Source::Store, &fault));
                None
            }
        },
        Reach::Away(why) => {
            problems.push(Problem {
                source: Source::Store,
                what: why.clone(),
            });
            None
        }
    };
    (depths, books, problems)
}
