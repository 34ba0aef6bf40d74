//! Decides which events are suspected of having ended a process with their handler, and how these
//! events are run.
//!
//! An event that was in flight when a process died still has a start marker, and is suspected of
//! having ended that process. A suspected event runs alone in its process: if that process dies
//! too, no other event can be the cause. An event that did not cause the death is cleared by its
//! first isolated run.
//!
//! A process may also die of another cause while such an event runs alone. For example, an operator
//! or a lack of memory may kill it again and again. A process that has completed other events
//! before shows that it was able to work. So [`ALONE_MAX`] deaths of such processes during isolated
//! runs are enough for a quarantine. To make such a proof possible, an event with a death in
//! isolation runs after all events without one ([`crate::isolation`]). But there may be no other
//! event that a process could complete. So deaths without this proof count too, and
//! [`UNPROVEN_MAX`] deaths in all are required then. An event that reaches a limit is quarantined:
//! it becomes a dead letter, and its handler does not run.

use std::collections::HashMap;

use hookbox_driver::{Start, StartCounts};
use hookbox_event::{Envelope, RouteName};

/// How many processes must have died during isolated runs of an event before it is quarantined, if
/// each of them had completed another event before its death. In all, five processes die then: one
/// at the first delivery, which is not counted, one while the handler ran beside others, and three
/// while only this handler ran.
const ALONE_MAX: u32 = 3;

/// How many processes must have died during isolated runs of an event before it is quarantined,
/// even if they had completed no other event. This limit ends a crash loop.
const UNPROVEN_MAX: u32 = 10;

/// The detail of a dead letter that was quarantined after [`ALONE_MAX`] process deaths, each in a
/// process that had completed other events.
const PROVEN: &str = "the process ended while this handler ran alone, three times, each time after \
                      the process had completed other events; the likely cause is an abort, a \
                      stack overflow, or a lack of memory";

/// The detail of a dead letter that was quarantined after [`UNPROVEN_MAX`] process deaths, not all
/// of them in processes that had completed other events.
const UNPROVEN: &str = "the process ended while this handler ran alone, ten times; not each time \
                        had the process completed another event before, so the handler is the \
                        likely cause and not the certain one";

/// How the events of one group are to be run.
pub(crate) struct Plan<'e> {
    /// Events that are not suspected. They may run while other handlers run in the process.
    pub shared: Vec<&'e Envelope>,
    /// The start markers to set while the events in `shared` run. Only redelivered events get one.
    pub markers: Vec<Start>,
    /// Suspected events, which run after those in `shared`, one at a time, in this order.
    pub suspects: Vec<Suspect<'e>>,
}

/// An event that was in flight when a process died.
#[derive(Clone, Copy)]
pub(crate) struct Suspect<'e> {
    pub envelope: &'e Envelope,
    pub counts: StartCounts,
    pub measure: Measure,
}

/// What to do with a suspected event when its handler would run. A duplicate, whose handler does
/// not run, is settled as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Run the handler of the event alone in the process.
    Isolate,
    /// Store the event as a dead letter with this detail, and do not run its handler.
    Quarantine(&'static str),
}

impl<'e> Plan<'e> {
    /// Plans how a group of events is run. `redelivered` lists the start markers of the
    /// redelivered events among them, and `counts` has the store's counts for these markers, in
    /// the same order.
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

/// Returns what to do with a suspected event that has these start counts.
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
    /// Replaces the start counts by newer ones. Returns whether they are unchanged.
    pub fn recount(&mut self, counts: StartCounts) -> bool {
        let is_same = self.counts == counts;
        self.counts = counts;
        self.measure = measure(counts);
        is_same
    }

    /// Logs that the handler runs in isolation, before its first isolated run in this process.
    pub fn log_isolated(&self, route: &RouteName) {
        let counts = self.counts;
        tracing::warn!(
            event.id = %self.envelope.event,
            event.topic = %self.envelope.topic,
            route = %route,
            starts = counts.all,
            deaths_alone = counts.isolated,
            deaths_unproven = counts.unproven,
            "a process died while event {} was in flight; its handler runs alone now; processes \
             that died while it ran alone: {} that had completed other events (the limit is \
             {ALONE_MAX}), {} in all (the limit is {UNPROVEN_MAX})",
            self.envelope.event,
            counts.isolated,
            counts.alone()
        );
    }

    /// Logs that the event is quarantined, before it becomes a dead letter.
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
