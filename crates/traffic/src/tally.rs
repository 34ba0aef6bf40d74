//! The result of a run as text and as JSON: the requests, their responses, and the expected
//! outcomes.
//!
//! The JSON contains the fields of [`Tally`] under their own names. Scripts compare these fields
//! with the tables of the store, so renaming or removing a field is an incompatible change.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::expect::{Expected, Sum};
use super::terms::Terms;

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Tally {
    /// The target of the requests.
    pub target: String,
    /// The names of the config, the source and the key with which the requests were signed.
    pub signed: Terms,
    /// The seed of the random numbers. It determined all bodies, which requests were sent, and in
    /// which order.
    pub seed: u64,
    /// Whether the run was stopped before everything was sent.
    pub interrupted: bool,
    /// Requests of the plan: originals, duplicates and conflicts.
    pub planned: u64,
    /// Requests of the plan that were sent.
    pub sent: u64,
    /// Sent requests that were answered with 200 and JSON.
    pub accepted: u64,
    /// Requests that were refused: altered requests, which must be refused, and the requests that
    /// `wrongly_refused` counts.
    pub refused: u64,
    /// The number of times that a request was sent again, because it had no conclusive answer.
    pub retried: u64,
    /// The number of responses by HTTP status, including those after which the request was sent
    /// again.
    pub answers: BTreeMap<u16, u64>,
    /// How often a request could not be sent, because nothing listened at the target.
    pub unreachable: u64,
    /// How often it is unknown whether a request that was sent was stored (a lost connection, no
    /// response in time, a 5xx). Each time may add one receipt, and one `duplicate`, to the numbers
    /// in `expected`.
    pub unknown_outcome: u64,
    /// Requests that were given up without a conclusive answer and that may have been stored. Each
    /// such request may add one to `done`, `conflict` or `dead` in `expected`.
    pub unconfirmed: u64,
    /// Requests that were given up and that were certainly not stored.
    pub undelivered: u64,
    /// The number of altered requests that were accepted; it must be 0.
    pub wrongly_accepted: u64,
    /// The number of genuine requests that were refused; it must be 0.
    pub wrongly_refused: u64,
    /// Distinct events with at least one accepted request.
    pub distinct_events: u64,
    /// How many receipts must have which outcome. The numbers hold for a store in which no run with
    /// this seed was recorded before, and for a handler that never fails.
    pub expected: Expected,
    /// The expected outcomes by topic.
    pub expected_by_topic: BTreeMap<String, Expected>,
    /// The expected outcomes by route of the config. An event that two routes select counts for
    /// both, and an event that no route selects counts for `unrouted`. If the conditions of routes
    /// send the two bodies of a conflict to different routes, the numbers hold when the first body
    /// is processed first.
    pub expected_by_route: BTreeMap<String, Expected>,
    /// The latency of accepted requests, in milliseconds.
    pub latency_ms: Latency,
    /// The duration of the run, in seconds.
    pub seconds: f64,
    /// The number of requests sent per second, with every repetition counted.
    pub requests_per_second: f64,
    /// The number of accepted requests a second.
    pub accepted_per_second: f64,
}

/// Quantiles of the latency, in milliseconds; 0 if nothing was accepted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The latency that half of the requests did not exceed.
    pub p50: f64,
    /// The latency that 90 of 100 requests did not exceed.
    pub p90: f64,
    /// The latency that 99 of 100 requests did not exceed.
    pub p99: f64,
    /// The largest latency.
    pub max: f64,
}

/// The totals over all senders.
pub(super) struct SendTotals {
    pub(super) target: String,
    pub(super) signed: Terms,
    pub(super) seed: u64,
    pub(super) planned: u64,
    pub(super) made: u64,
    pub(super) attempts: u64,
    pub(super) answers: BTreeMap<u16, u64>,
    pub(super) unknown: u64,
    pub(super) unreachable: u64,
    pub(super) latencies: Vec<u32>,
    pub(super) took: Duration,
}

impl Tally {
    pub(super) fn of(totals: SendTotals, sum: Sum) -> Self {
        let seconds = totals.took.as_secs_f64();
        let a_second = |count: u64| count as f64 / seconds.max(f64::MIN_POSITIVE);
        let accepted = sum.total.receipts + sum.wrongly_accepted;
        Self {
            target: totals.target,
            signed: totals.signed,
            seed: totals.seed,
            interrupted: totals.made < totals.planned,
            planned: totals.planned,
            sent: totals.made,
            accepted,
            refused: sum.rightly_refused + sum.wrongly_refused,
            retried: totals.attempts - totals.made.min(totals.attempts),
            answers: totals.answers,
            unreachable: totals.unreachable,
            unknown_outcome: totals.unknown,
            unconfirmed: sum.unconfirmed,
            undelivered: sum.undelivered,
            wrongly_accepted: sum.wrongly_accepted,
            wrongly_refused: sum.wrongly_refused,
            distinct_events: sum.distinct,
            expected_by_route: sum.by_route,
            expected: sum.total,
            expected_by_topic: sum.by_topic,
            latency_ms: Latency::of(totals.latencies),
            requests_per_second: a_second(totals.attempts),
            accepted_per_second: a_second(accepted),
            seconds,
        }
    }

    /// Returns whether the receiver behaved as it must: it accepted no altered request, refused no
    /// genuine request, and every request was delivered.
    pub fn is_ok(&self) -> bool {
        self.wrongly_accepted == 0
            && self.wrongly_refused == 0
            && self.unconfirmed == 0
            && self.undelivered == 0
    }

    /// Returns the text for operators.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let latency = &self.latency_ms;
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "sent      {} of {} requests to {} (seed {}) in {:.1} s, {:.0} a second\n\
             accepted  {} (latency p50 {:.1} ms, p90 {:.1}, p99 {:.1}, max {:.1})\n\
             refused   {}, sent again {}, unreachable {}, outcome unknown {}\n\
             answers   {}\n\
             {}",
            self.sent,
            self.planned,
            self.target,
            self.seed,
            self.seconds,
            self.requests_per_second,
            self.accepted,
            latency.p50,
            latency.p90,
            latency.p99,
            latency.max,
            self.refused,
            self.retried,
            self.unreachable,
            self.unknown_outcome,
            statuses(&self.answers),
            self.signed,
        );
        let _ = writeln!(
            text,
            "expected of {} distinct events, once all is done (`hookbox reconcile --wait 30s`):",
            self.distinct_events
        );
        expected(&mut text, "all", &self.expected);
        for (route, of_route) in &self.expected_by_route {
            expected(&mut text, &format!("route {route}"), of_route);
        }
        self.doubts(&mut text);
        text
    }

    fn doubts(&self, text: &mut String) {
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                let _ = writeln!(text, "  {count} {what}");
            }
        };
        say(
            self.unknown_outcome,
            "times a request may have been stored without an answer: each may add one duplicate",
        );
        say(
            self.unconfirmed,
            "requests were never confirmed and may have been stored: each may add one row",
        );
        say(self.undelivered, "requests could not be delivered");
        say(self.wrongly_accepted, "ALTERED REQUESTS WERE ACCEPTED");
        say(self.wrongly_refused, "genuine requests were refused");
        if self.interrupted {
            text.push_str("  interrupted: the numbers cover what was sent before\n");
        }
    }
}

impl Latency {
    fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |share: f64| {
            let rank = (micros.len() as f64 * share).ceil() as usize;
            let micros = micros.get(rank.saturating_sub(1)).copied().unwrap_or(0);
            f64::from(micros) / 1e3
        };
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

fn statuses(answers: &BTreeMap<u16, u64>) -> String {
    if answers.is_empty() {
        return "none".to_owned();
    }
    let one = |(status, count): (&u16, &u64)| format!("{count} × {status}");
    answers.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn expected(text: &mut String, name: &str, expected: &Expected) {
    let dead: u64 = expected.dead.values().sum();
    let mut reasons = String::new();
    if dead > 0 {
        let one = |(reason, count): (&&str, &u64)| format!("{reason} {count}");
        let list: Vec<String> = expected.dead.iter().map(one).collect();
        reasons = format!(" ({})", list.join(", "));
    }
    let _ = writeln!(
        text,
        "  {name}: receipts {} = done {} + duplicate {} + conflict {} + dead {dead}{reasons}",
        expected.receipts, expected.done, expected.duplicate, expected.conflict
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let latency = Latency::of((1..=1_000).map(|n| n * 1_000).collect());
        assert_eq!(
            (latency.p50, latency.p90, latency.p99, latency.max),
            (500.0, 900.0, 990.0, 1_000.0)
        );
        assert_eq!(Latency::of(Vec::new()), Latency::default());
        assert_eq!(Latency::of(vec![2_500]).p50, 2.5);
    }
}
