//! Builds the report's line for each route, from the route's queue and its accounting.

use std::collections::BTreeMap;

use hookbox_driver::{Accounts, Depth, Queue, RouteBooks, RouteControls};
use hookbox_event::RouteName;

use crate::command::pause_line::PauseLine;

use super::reconcile_report::{OutcomeCounts, QueueContents, RouteLine};

/// The lines of all routes, and the contents of the two queues that serve all routes: the
/// dead-letter queue and the queue of accept reports.
pub(super) struct Lines {
    pub routes: Vec<RouteLine>,
    pub dead_queue: Option<QueueContents>,
    pub accept_report_queue: Option<QueueContents>,
}

/// Combines the depths of the queues, the outcomes, and what ingests have reported.
pub(super) fn of(
    depths: Option<Vec<Depth>>,
    books: Option<Vec<RouteBooks>>,
    accounts: Option<&Accounts>,
    controls: &RouteControls,
) -> Lines {
    let mut routes: BTreeMap<String, RouteLine> = BTreeMap::new();
    let (mut dead_queue, mut accept_report_queue) = (None, None);
    let (broker_answers, store_answers) = (depths.is_some(), books.is_some());
    for depth in depths.unwrap_or_default() {
        let contents = QueueContents {
            ready: depth.ready,
            in_flight: depth.unsettled,
            events: depth.events,
        };
        match depth.queue {
            Queue::Dead => dead_queue = Some(contents),
            Queue::Accounts => accept_report_queue = Some(contents),
            // Witness messages are not work that must be done; they are compared with the store
            // elsewhere.
            Queue::Witness => {}
            Queue::Route(route) => {
                let mut line = RouteLine::named(&route.to_string());
                // If the store has no rows for a route, all of the route's counts are 0.
                line.store = store_answers.then(OutcomeCounts::nothing);
                line.broker = Some(contents);
                routes.insert(line.route.clone(), line);
            }
        }
    }
    for book in books.unwrap_or_default() {
        let route = book.route.to_string();
        let named = RouteLine::named(&route);
        let line = routes.entry(route).or_insert(named);
        line.store = Some(OutcomeCounts::of(&book));
    }
    // A route that is no longer configured has no queue, and it may have no outcomes either. If
    // ingests have reported receipts of such a route, it gets a line here.
    for (route, _) in accounts.iter().flat_map(|it| &it.reported) {
        let mut line = RouteLine::named(route.as_str());
        line.store = store_answers.then(OutcomeCounts::nothing);
        routes.entry(line.route.clone()).or_insert(line);
    }
    let mut routes: Vec<RouteLine> = routes.into_values().collect();
    for line in &mut routes {
        let route = line.route.parse().ok();
        line.paused = route.and_then(|route| PauseLine::of(controls, &route));
        line.accepted = line.accepted().filter(|_| broker_answers);
        line.reported = accounts.map(|accounts| of_route(&accounts.reported, &line.route));
        line.written_off = accounts.map(|it| of_route(&it.written_off, &line.route));
        line.open = accounts.map(|accounts| of_route(&accounts.open_by_route, &line.route));
    }
    Lines {
        routes,
        dead_queue,
        accept_report_queue,
    }
}

fn of_route(counts: &[(RouteName, u64)], route: &str) -> u64 {
    let mut counts = counts.iter().filter(|(name, _)| name.as_str() == route);
    counts.next().map_or(0, |(_, count)| *count)
}

impl RouteLine {
    fn named(route: &str) -> Self {
        Self {
            route: route.to_owned(),
            reported: None,
            open: None,
            written_off: None,
            accepted: None,
            store: None,
            broker: None,
            paused: None,
        }
    }

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

impl OutcomeCounts {
    fn nothing() -> Self {
        Self {
            receipts: 0,
            done: 0,
            duplicate: 0,
            conflict: 0,
            dead: 0,
            stale: 0,
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
            stale: book.stale,
            retrying: book.retrying,
        }
    }
}
