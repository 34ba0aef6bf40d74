//! The list of all metrics, each with its name, unit, labels and help text.
//!
//! A label has few values, and all of them are known from the config or the code: names of routes
//! and queues, outcomes. A label never contains a uid (of a person), a key or an id of an event.

use serde::Serialize;

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The value only grows, from 0 at each start of the process.
    Counter,
    /// The value goes up and down.
    Gauge,
    /// The metric counts operations by their duration.
    Histogram,
}

/// The description of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Family {
    /// The name, without the leading `hookbox_` and without the `_total` that a counter ends with.
    pub name: &'static str,
    /// The kind of the metric.
    pub kind: Kind,
    /// The labels of the metric.
    pub labels: &'static [&'static str],
    /// The help text of the metric.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    let kind = Kind::Counter;
    Family {
        name,
        kind,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    let kind = Kind::Gauge;
    Family {
        name,
        kind,
        labels,
        help,
    }
}

#[cfg(test)]
impl Family {
    /// Returns the full name, as used in a query.
    pub fn full_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("hookbox_{}_total", self.name),
            Kind::Gauge | Kind::Histogram => format!("hookbox_{}", self.name),
        }
    }
}

pub const BUILD_INFO: Family = gauge("build_info", &["version"], "Always 1; the running version");
pub const DRAINING: Family = gauge("draining", &[], "1 while the process shuts down");
pub const LOG_DROPPED: Family = counter(
    "log_lines_dropped",
    &[],
    "Log lines that were not written, because standard error was not read or failed",
);
pub const BROKER_UP: Family = gauge("broker_up", &[], "1 while the broker takes publishes");
pub const STORE_UP: Family = gauge("store_up", &[], "1 while the store answers");
pub const REQUESTS: Family = counter(
    "requests",
    &["outcome"],
    "Requests by outcome: accepted (answered 200), refused (4xx, or 503 because of its sender's \
     address), not_durable (every other 503)",
);
pub const REFUSED: Family = counter(
    "requests_not_accepted",
    &["reason"],
    "Requests that were not answered 200, by reason",
);
pub const UNROUTED: Family = counter(
    "requests_unrouted",
    &["source"],
    "Accepted requests whose event no route selects, so that the route unrouted records it",
);
pub const KEYS_END: Family = gauge(
    "source_keys_end_timestamp_seconds",
    &["source"],
    "The Unix time at which the last signing key of a source expires; absent if one of its keys \
     never expires",
);
pub const IN_FLIGHT: Family = gauge("requests_in_flight", &[], "Requests without an answer yet");
pub const WAITING: Family = gauge(
    "requests_waiting",
    &[],
    "Requests that wait to be put into a batch",
);
pub const CONNECTIONS: Family = gauge(
    "connections",
    &["state"],
    "Connections to the port for webhooks by state: open (all of them), idle (no request under \
     way), unverified (no request on the connection was verified) and health (accepted for a \
     health check only)",
);
pub const CONNECTIONS_CLOSED: Family = counter(
    "connections_closed",
    &["reason"],
    "Connections that were closed because of a limit: to_make_room (the connection had no verified \
     request, and another connection needed its place) or address_full (a new connection from an \
     address that already had as many connections as it may)",
);
pub const BATCHES: Family = counter("batches", &[], "Batches that the broker confirmed");
pub const CONFIRMS: Family = Family {
    name: "publish_confirm_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "Time from publishing a batch until the broker confirmed it",
};
pub const REFUSALS_DROPPED: Family = counter(
    "refusals_dropped",
    &[],
    "Refusals that were counted but could not be stored for operators",
);
pub const RECEIPTS: Family = counter(
    "receipts",
    &["route", "outcome"],
    "Receipts that got an outcome in this process: done, duplicate, conflict, dead, stale, \
     retrying, deferred; or redelivered, if they already had an outcome",
);
pub const FAULTS: Family = counter(
    "faults",
    &["route"],
    "Faults of a dependency after which the work was repeated; none of them counts as an attempt",
);
pub const PAUSED: Family = gauge(
    "route_paused",
    &["route", "by"],
    "1 while a route is paused by the store (messages in flight are kept), the broker (the \
     subscription is interrupted), a standstill (nothing is settled though something is in \
     flight), a missing right (the handler is denied what it needs), the target of its calls (it \
     is not reached, or asked for a pause) or an operator (`hookbox routes pause`)",
);
pub const STANDSTILL: Family = gauge(
    "route_standstill_seconds",
    &["route"],
    "For how long nothing was settled on a route while something was in flight",
);
pub const ISOLATED: Family = counter(
    "isolated_runs",
    &["route"],
    "Events that were in flight when a process died, and whose handler therefore runs in isolation",
);
pub const LEASED: Family = counter(
    "calls_leased",
    &["route"],
    "Events passed to external calls; an event is counted once for each call",
);
pub const SUPERSEDED: Family = counter(
    "calls_superseded",
    &["route"],
    "External calls whose result changed nothing, because the event already had its outcome or a \
     newer call decides it",
);
pub const CALLS: Family = gauge(
    "calls_in_flight",
    &["route"],
    "External calls that are in flight",
);
pub const REQUEUED: Family = counter("retries_requeued", &[], "Due retries put back into a queue");
pub const COLLECTED: Family = counter(
    "broker_dead_collected",
    &[],
    "Envelopes that the broker gave up on and that a worker stored as dead letters",
);
pub const QUEUE_MESSAGES: Family = gauge(
    "queue_messages",
    &["queue"],
    "Messages (each is a batch) ready in a queue of the broker",
);
pub const QUEUE_CONSUMERS: Family = gauge(
    "queue_consumers",
    &["queue"],
    "Consumers that are subscribed to a queue of the broker",
);
pub const RETRIES: Family = gauge(
    "retries",
    &["route"],
    "Events that wait for another attempt",
);
pub const RETRIES_DUE: Family = gauge(
    "retries_due",
    &["route"],
    "Retries that are due and have not been put back into their queue yet",
);
pub const DEFERRED: Family = gauge(
    "deferred",
    &["route"],
    "Retries that are deferred, which costs no attempt: they wait for a lock of another session, a \
     missing right or a target",
);
pub const DEFERRED_OLDEST: Family = gauge(
    "deferred_oldest_seconds",
    &["route"],
    "For how long the oldest deferred retry has been deferred",
);
pub const DEAD: Family = gauge(
    "dead_letters",
    &["route"],
    "Dead letters that wait for a decision",
);
pub const REPORTED: Family = gauge(
    "receipts_reported",
    &["route"],
    "Receipts in accept reports: their requests were answered 200",
);
pub const OPEN: Family = gauge(
    "receipts_open",
    &[],
    "Receipts in accept reports that have no outcome: they are in a queue, in flight or missing",
);
pub const OLDEST: Family = gauge(
    "receipts_open_oldest_seconds",
    &[],
    "How long ago the oldest receipt without an outcome was reported; 0 if no receipt lacks an \
     outcome",
);
pub const OVERDUE: Family = gauge(
    "receipts_overdue",
    &[],
    "Receipts that have had no outcome for ten minutes although later receipts of their ingest \
     and route have one; at most 100",
);
pub const IMBALANCES: Family = gauge(
    "imbalances",
    &[],
    "Claims and receipts that contradict each other, 100 at most, and reported receipts whose rows \
     are gone; counted every ten minutes",
);
pub const WITNESS: Family = gauge(
    "witness_mismatch",
    &[],
    "1 while the store and its broker contradict each other: one of them was restored or replaced",
);
pub const ENDS_HELD_BACK: Family = gauge(
    "ends_held_back_seconds",
    &[],
    "For how long an open transaction has held committed ends of events back from programs that \
     read along",
);
pub const GAPS: Family = gauge(
    "sequence_gaps",
    &[],
    "Gaps in the sequence numbers that ingests have reported; at most 100",
);
pub const ACCEPT_REPORTS: Family = counter(
    "accept_reports",
    &[],
    "Accept reports that the broker confirmed",
);
pub const UNREPORTED: Family = gauge(
    "receipts_unreported",
    &[],
    "Accepted receipts that are in no accept report yet: those of about the last second, unless \
     reporting fails",
);
pub const DROPPED_FROM_REPORTS: Family = counter(
    "receipts_dropped_from_reports",
    &[],
    "Accepted receipts dropped from accept reports because the buffer was full",
);

pub const SQLITE_LOG: Family = gauge(
    "sqlite_log_bytes",
    &[],
    "Size of SQLite's write-ahead log, which grows while an old snapshot of the file is being read",
);

pub const SPOOL_EVENTS: Family = gauge(
    "spool_events",
    &[],
    "Events that wait in the spool for the broker; an event counts once for each of its routes",
);
pub const SPOOL_REFUSED: Family = gauge(
    "spool_refused_events",
    &[],
    "Events in the spool that the broker refuses although it takes other events",
);
pub const SPOOL_KEPT: Family = counter(
    "spool_kept",
    &[],
    "Events that were spooled because the broker could not take them",
);
pub const SPOOL_FORWARDED: Family = counter(
    "spool_forwarded",
    &[],
    "Events of the spool that the broker has confirmed",
);

/// All metrics, in the order of the page. Tests compare the list with the documentation and with
/// `schemas/metrics.json`.
#[cfg(test)]
pub const FAMILIES: &[Family] = &[
    BUILD_INFO,
    DRAINING,
    LOG_DROPPED,
    BROKER_UP,
    STORE_UP,
    REQUESTS,
    REFUSED,
    UNROUTED,
    KEYS_END,
    IN_FLIGHT,
    WAITING,
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    BATCHES,
    CONFIRMS,
    REFUSALS_DROPPED,
    ACCEPT_REPORTS,
    UNREPORTED,
    DROPPED_FROM_REPORTS,
    SPOOL_EVENTS,
    SPOOL_REFUSED,
    SPOOL_KEPT,
    SPOOL_FORWARDED,
    RECEIPTS,
    FAULTS,
    PAUSED,
    STANDSTILL,
    ISOLATED,
    LEASED,
    SUPERSEDED,
    CALLS,
    REQUEUED,
    COLLECTED,
    QUEUE_MESSAGES,
    QUEUE_CONSUMERS,
    RETRIES,
    RETRIES_DUE,
    DEFERRED,
    DEFERRED_OLDEST,
    DEAD,
    REPORTED,
    OPEN,
    OLDEST,
    OVERDUE,
    GAPS,
    IMBALANCES,
    WITNESS,
    ENDS_HELD_BACK,
    SQLITE_LOG,
];
