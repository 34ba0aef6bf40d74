//! Suspicion: which events may end the process that runs their handler, and what follows.
//!
//! What was in flight when a process died is suspected: it has a start marker left. A suspected
//! event runs alone in its process, so that the next death, if there is one, is its own; an
//! innocent one is cleared by its first run.
//!
//! A process that dies of something else dies with an innocent event alone in it, too. So deaths
//! alone count fully only in a process that had completed other events before ([`ALONE_MAX`] of
//! them are enough), an event that has died alone runs after everything that has not
//! ([`crate::isolation`]), and an event that is the only one there is has more tries
//! ([`UNPROVEN_MAX`]). What reaches its limit is quarantined: a dead letter, and its handler does
//! not run.

use std::collections::HashMap;

use hookbox_driver::{Start, StartCounts};
use hookbox_event::{Envelope, RouteName};

/// How many deaths alone are enough, in processes that had completed another event before. With
/// the first delivery, which is not counted, and the one beside others, the process has died five
/// times by then, three of them in this handler and in nothing else.
const ALONE_MAX: u32 = 3;

/// How many deaths alone are enough, whatever else the processes did. A crash loop ends here.
const UNPROVEN_MAX: u32 = 10;

/// What is known of an event that is quarantined.
const PROVEN: &str = "the process ended while this handler ran alone, three times, each time after \
                      it had completed other events: an abort, a stack overflow, or not enough \
                      memory";

/// What is known of one in whose processes nothing else was completed.
const UNPROVEN: &str = "the process ended while this handler ran alone, ten times; it had not \
                        completed another event before each of them, so that the handler is the \
                        likely cause and not the certain one";

/// How the events of a round are to be run.
pub(crate) struct Plan<'e> {
    /// Beside whatever else runs in the process.
    pub shared: Vec<&'e Envelope>,
    /// The start markers to set while they run: of those that are redelivered.
    pub markers: Vec<Start>,
    /// After them, one at a time, in this order.
    pub suspects: Vec<Suspect<'e>>,
}

/// An event that was in flight when a process died.
#[derive(Clone, Copy)]
pub(crate) struct Suspect<'e> {
    pub envelope: &'e Envelope,
    pub counts: StartCounts,
    pub measure: Measure,
}

/// What a suspicion leads to, where the handler would run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Its handler runs alone in the process.
    Isolate,
    /// It does not run: a dead letter with this detail.
    Quarantine(&'static str),
}

impl<'e> Plan<'e> {
    /// For events of which some are redelivered, with the counts of those.
    pub fn new(events: &[&'e Envelope], redelivered: &[Start], counts: &[StartCounts]) -> Self {
        let pairs = redelivered.iter().copied().zip(counts.iter().copied());
        let counts: HashMap<Start, StartCounts> = pairs.collect();
        let mut plan = Self {
            shared: Vec::with_capacity(events.len()),
            markers: Vec::new(),
            suspects: Vec::new(),
        };
        for envelope in events.iter().copied() {
            let start = Start::of(envelope);
            match counts.get(&start).copied() {
                Some(counts) if counts.all > 0 => plan.suspects.push(Suspect {
                    envelope,
                    counts,
                    measure: measure(counts),
                }),
                Some(_) => {
                    plan.shared.push(envelope);
                    plan.markers.push(start);
                }
                None => plan.shared.push(envelope),
            }
        }
        plan.suspects.sort_by_key(|suspect| suspect.counts.alone());
        plan
    }
}

/// What follows from these counts.
fn measure(counts: StartCounts) -> Measure {
    if counts.isolated >= ALONE_MAX {
        Measure::Quarantine(PROVEN)
    } else if counts.alone() >= UNPROVEN_MAX {
        Measure::Quarantine(UNPROVEN)
    } else {
        Measure::Isolate
    }
}

impl Suspect<'_> {
    /// Takes counts that were read later; whether they are the same still.
    pub fn recount(&mut self, counts: StartCounts) -> bool {
        let is_same = self.counts == counts;
        self.counts = counts;
        self.measure = measure(counts);
        is_same
    }

    /// Before its handler runs alone for the first time in this process.
    pub fn log_isolated(&self, route: &RouteName) {
        let counts = self.counts;
        tracing::warn!(
            event.id = %self.envelope.event,
            event.topic = %self.envelope.topic,
            route = %route,
            starts = counts.all,
            deaths_alone = counts.isolated,
            deaths_unproven = counts.unproven,
            "a process died while event {} was in flight; its handler runs alone now (deaths \
             alone: {} of {ALONE_MAX} after other events, {} of {UNPROVEN_MAX} in all)",
            self.envelope.event,
            counts.isolated,
            counts.alone()
        );
    }

    /// Before it becomes a dead letter.
    pub fn log_quarantined(&self, route: &RouteName, detail: &str) {
        tracing::error!(
            event.id = %self.envelope.event,
            event.topic = %self.envelope.topic,
            route = %route,
            starts = self.counts.all,
            deaths_alone = self.counts.isolated,
            deaths_unproven = self.counts.unproven,
            "event {} is quarantined: {detail}; its handler is not run again",
            self.envelope.event
        );
    }
}

#[cfg(test)]
mod tests;
