//! `queues`: for each queue, how many messages the broker holds, beside what the store holds for
//! the same route.

use std::collections::BTreeMap;

use hookbox_driver::{
    Backlog, Broker, Depth, Fault, Ledger, NotReadyKind, Queue, Readiness, RouteBooks,
    RouteControls,
};
use hookbox_event::RouteName;
use serde::Serialize;

use super::pause_line::PauseLine;
use crate::{Problem, Reach, Source};

/// The queues of this environment.
#[derive(Debug, Clone, Serialize)]
pub struct QueuesReport {
    /// One line for each queue.
    pub queues: Vec<QueueLine>,
    /// What could not be read from the broker, the store or this machine's spool, and why.
    pub problems: Vec<Problem>,
}

/// One queue, with what the broker and the store know about it.
#[derive(Debug, Clone, Serialize)]
pub struct QueueLine {
    /// What the queue is for, such as `route.scores` or `dead`.
    pub queue: String,
    /// What the broker reports about the queue; null if the broker is unavailable or does not have
    /// the queue.
    pub broker: Option<BrokerSide>,
    /// What the store holds; null if it is unavailable, and for a queue that belongs to no route.
    pub store: Option<StoreSide>,
    /// The pause of the route by an operator; null if the route is not paused, if the store is
    /// unavailable, and for a queue that belongs to no route.
    pub paused: Option<PauseLine>,
}

/// What the broker reports about a queue. A value that it does not report is null.
#[derive(Debug, Clone, Serialize)]
pub struct BrokerSide {
    /// The name of the queue at the broker.
    pub name: String,
    /// The number of messages that wait in the queue. Each message is a batch, so the number of
    /// events may be larger.
    pub ready: Option<u64>,
    /// The number of messages in flight: delivered to workers and not settled yet.
    pub in_flight: Option<u64>,
    /// The number of consumers that are subscribed to the queue.
    pub consumers: Option<u64>,
    /// The number of events in all messages of the queue, waiting or in flight.
    pub events: Option<u64>,
}

/// What the store holds for a route.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StoreSide {
    /// How many events wait for another attempt.
    pub retrying: u64,
    /// How many of these waiting events are deferred, which costs no attempt: they wait for a lock
    /// that another program holds, for a right that is missing, or for the target of an external
    /// call. Events whose call is in flight are not among them.
    pub deferred: u64,
    /// For how long the oldest deferral has lasted, in whole seconds; 0 if no event is deferred.
    pub deferred_oldest_s: u64,
    /// How many dead letters wait for a decision, including conflicts. `dead groups`, `reconcile`
    /// and the metric `hookbox_dead_letters` show the same number.
    pub dead: u64,
}

/// Reports on all queues. If only the broker or only the store is available, the report contains
/// what the available one knows.
pub async fn queues(broker: &Reach<dyn Broker>, store: &Reach<dyn Ledger>) -> QueuesReport {
    let (depths, mut problems) = broker_side(broker).await;
    let (backlog, more) = store_side(store, async |ledger| ledger.backlog().await).await;
    problems.extend(more);
    let (controls, more) = store_side(store, async |ledger| ledger.controls().await).await;
    problems.extend(more.into_iter().filter(|_| backlog.is_some()));
    let controls = controls.unwrap_or_default();
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
            paused: paused(&controls, &depth.queue),
            store: match &depth.queue {
                Queue::Route(route) => waiting.remove(route).or(nothing),
                Queue::Dead | Queue::Accounts | Queue::Witness => None,
            },
            broker: Some(BrokerSide::of(depth)),
        })
        .collect();
    // A route that was removed from the config has no queue any more, but may still have rows in
    // the store.
    lines.extend(waiting.into_iter().map(|(route, side)| QueueLine {
        paused: PauseLine::of(&controls, &route),
        queue: Queue::Route(route).to_string(),
        broker: None,
        store: Some(side),
    }));
    QueuesReport {
        queues: lines,
        problems,
    }
}

fn paused(controls: &RouteControls, queue: &Queue) -> Option<PauseLine> {
    match queue {
        Queue::Route(route) => PauseLine::of(controls, route),
        Queue::Dead | Queue::Accounts | Queue::Witness => None,
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

/// Returns a problem if queues are missing at the broker or differ from their declaration.
fn topology_problem(broker: &dyn Broker) -> Option<Problem> {
    let Readiness::NotReady { kind, why } = broker.readiness() else {
        return None;
    };
    (kind == NotReadyKind::Topology).then_some(Problem {
        source: Source::Broker,
        what: why,
    })
}

/// Reads the broker and then the store, and reports what could not be read. Because of this order,
/// a message that is settled between the two readings is counted in both. In the reverse order, it
/// would be counted in neither.
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
    let (broker, lacks) = match broker.opened() {
        Ok(opened) => opened,
        Err(why) => return (None, vec![unavailable(Source::Broker, why)]),
    };
    let mut problems: Vec<Problem> = lacks.into_iter().cloned().collect();
    match broker.depths().await {
        Ok(depths) => {
            problems.extend(topology_problem(&**broker));
            (Some(depths), problems)
        }
        Err(fault) => {
            problems.push(Problem::of(Source::Broker, &fault));
            (None, problems)
        }
    }
}

pub(super) async fn store_side<T>(
    store: &Reach<dyn Ledger>,
    read: impl AsyncFnOnce(&dyn Ledger) -> Result<T, Fault>,
) -> (Option<T>, Vec<Problem>) {
    let (ledger, lacks) = match store.opened() {
        Ok(opened) => opened,
        Err(why) => return (None, vec![unavailable(Source::Store, why)]),
    };
    let mut problems: Vec<Problem> = lacks.into_iter().cloned().collect();
    match read(&**ledger).await {
        Ok(found) => (Some(found), problems),
        Err(fault) => {
            problems.push(Problem::of(Source::Store, &fault));
            (None, problems)
        }
    }
}

fn unavailable(source: Source, why: &str) -> Problem {
    Problem {
        source,
        what: why.to_owned(),
    }
}
