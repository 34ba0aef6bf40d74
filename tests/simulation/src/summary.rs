//! Counts of what happened in one run or in many.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::check::innocents;
use crate::fault::Fault;
use crate::world::State;

/// Counts over one or more runs.
#[derive(Debug, Default, Clone)]
pub struct Summary {
    /// The number of runs.
    pub runs: u64,
    /// The number of requests that were answered 200.
    pub accepted: u64,
    /// The number of committed effects of handlers.
    pub effects: u64,
    /// The number of external calls that were begun.
    pub calls: u64,
    /// The number of external calls that met an outage of their target.
    pub missed_calls: u64,
    /// How often the breaker of a target was opened.
    pub openings: u64,
    /// The number of dead letters.
    pub dead: u64,
    /// The number of receipts with another body than the stored one of their event. Only routes on
    /// which the event id alone decides are counted.
    pub other_bodies: u64,
    /// The number of failed attempts.
    pub failures: u64,
    /// The number of events that were quarantined although they killed no process.
    pub innocents: u64,
    /// The number of lines in the traces.
    pub events: u64,
    /// The virtual time that passed.
    pub time: Duration,
    /// The number of times that each fault struck.
    pub faults: BTreeMap<Fault, u64>,
}

impl Summary {
    pub(crate) fn of(state: &State, time: Duration) -> Self {
        let receipts = state.tables.receipts.values();
        let other_bodies = receipts.filter(|it| it.other_digest.is_some());
        Self {
            runs: 1,
            accepted: state.accepted.len() as u64,
            effects: state.tables.effects.len() as u64,
            calls: state.tables.calls.begun,
            missed_calls: state.tables.calls.missed,
            openings: state.tables.calls.openings,
            dead: state.tables.dead.len() as u64,
            other_bodies: other_bodies.count() as u64,
            failures: state.tables.failures.len() as u64,
            innocents: innocents(&state.tables),
            events: state.trace.events(),
            time,
            faults: state.faults.counts.clone(),
        }
    }

    /// Adds the counts of another summary.
    pub fn add(&mut self, other: &Summary) {
        self.runs += other.runs;
        self.accepted += other.accepted;
        self.effects += other.effects;
        self.calls += other.calls;
        self.missed_calls += other.missed_calls;
        self.openings += other.openings;
        self.dead += other.dead;
        self.other_bodies += other.other_bodies;
        self.failures += other.failures;
        self.innocents += other.innocents;
        self.events += other.events;
        self.time += other.time;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }

    /// Returns the counts as JSON.
    pub fn json(&self) -> Value {
        let faults = Fault::ALL
            .iter()
            .map(|it| (it.as_str(), self.faults.get(it).copied().unwrap_or(0)));
        json!({
            "runs": self.runs,
            "accepted": self.accepted,
            "effects": self.effects,
            "calls": self.calls,
            "missed_calls": self.missed_calls,
            "breaker_openings": self.openings,
            "dead_letters": self.dead,
            "other_bodies": self.other_bodies,
            "failed_attempts": self.failures,
            "innocents_quarantined": self.innocents,
            "events": self.events,
            "virtual_seconds": self.time.as_secs(),
            "faults": faults.collect::<BTreeMap<_, _>>(),
        })
    }
}
