//! The external calls of a run, as their receiver sees them.

use std::collections::{BTreeMap, BTreeSet};

use hookbox_worker::Call;

use crate::on_route::OnRoute;

/// All calls to the only target of a run.
#[derive(Default)]
pub(crate) struct Calls {
    of: BTreeMap<OnRoute, CallsForEvent>,
    /// The calls of living processes: the number of the process, the event on its route, and the
    /// key of the event if the route applies only the newest event of each key.
    in_flight: Vec<(u64, OnRoute, Option<String>)>,
    /// The number of calls that were begun.
    pub begun: u64,
    /// Whether calls do not reach the target at the moment.
    pub is_away: bool,
    /// The number of calls that did not reach the target.
    pub missed: u64,
    /// How often the breaker of the target was opened.
    pub openings: u64,
}

/// The calls for one event on one route.
#[derive(Default)]
struct CallsForEvent {
    epoch: u32,
    /// The idempotency key of each round.
    keys: BTreeMap<u32, String>,
    /// The rounds that ended as done.
    done: BTreeSet<u32>,
    /// The rounds in which a call had its effect.
    succeeded: BTreeSet<u32>,
}

impl Calls {
    /// Notes that a call begins. Returns what is wrong with the call.
    pub fn begin(
        &mut self,
        process: u64,
        on: &OnRoute,
        round: u32,
        call: &Call,
        (most, key): (usize, Option<&str>),
    ) -> Vec<String> {
        let mut broken = Vec::new();
        if self.in_flight.iter().any(|it| it.1 == *on) {
            broken.push("has two calls in flight at the same time".to_owned());
        }
        if self.in_flight.len() >= most {
            broken.push(format!(
                "has a call in flight above the limit of {most} calls"
            ));
        }
        let is_of_key =
            |it: &(u64, OnRoute, Option<String>)| it.1.0 == on.0 && it.2.as_deref() == key;
        if key.is_some() && self.in_flight.iter().any(is_of_key) {
            broken.push("has a call in flight together with another call for its key".to_owned());
        }
        self.in_flight
            .push((process, on.clone(), key.map(str::to_owned)));
        self.begun += 1;
        let of = self.of.entry(on.clone()).or_default();
        if call.epoch <= of.epoch {
            broken.push(format!(
                "has a call with epoch {} after one with epoch {}",
                call.epoch, of.epoch
            ));
        }
        of.epoch = call.epoch;
        let key = of.keys.entry(round).or_insert_with(|| call.key.clone());
        if *key != call.key {
            broken.push(format!(
                "has the idempotency keys {key} and {} in one round",
                call.key
            ));
        }
        // Only the replay of a done event must repeat the effect of the call. So two rounds must
        // have different idempotency keys if the event was done between them, and the same key
        // otherwise.
        for (earlier, key) in of.keys.range(..round) {
            let is_wanted_again = of.done.range(earlier..&round).next().is_some();
            if (*key != call.key) != is_wanted_again {
                broken.push(format!(
                    "has the idempotency key {} in round {round} and {key} in round {earlier}; it \
                     was done in the rounds {:?}",
                    call.key, of.done
                ));
            }
        }
        broken
    }

    /// Returns whether a call reaches the target now.
    pub fn reaches(&mut self) -> bool {
        self.missed += u64::from(self.is_away);
        !self.is_away
    }

    /// Notes that a call of a process is not in flight any more.
    pub fn end(&mut self, process: u64, on: &OnRoute) {
        let mut in_flight = self.in_flight.iter();
        if let Some(at) = in_flight.position(|it| it.0 == process && it.1 == *on) {
            self.in_flight.remove(at);
        }
    }

    /// Notes that a process has died, so that none of its calls is in flight any more.
    pub fn end_all_of(&mut self, process: u64) {
        self.in_flight.retain(|it| it.0 != process);
    }

    /// Notes that a round ended as done.
    pub fn done(&mut self, on: &OnRoute, round: u32) {
        let of = self.of.entry(on.clone()).or_default();
        of.done.insert(round);
    }

    /// Notes that a call had its effect.
    pub fn succeeded(&mut self, on: &OnRoute, round: u32) {
        let of = self.of.entry(on.clone()).or_default();
        of.succeeded.insert(round);
    }

    /// I1: `done` are the events that are done on routes with an effect. Returns a violation for
    /// each of them if no call of its last round had its effect.
    pub fn check<'a>(&self, done: impl Iterator<Item = &'a OnRoute>) -> Vec<String> {
        let without = done.filter(|on| {
            let of = self.of.get(on);
            let last = of.and_then(|of| of.keys.keys().last().copied());
            !of.zip(last)
                .is_some_and(|(of, last)| of.succeeded.contains(&last))
        });
        without
            .map(|on| format!("I1: {on:?} is done without a call that succeeded"))
            .collect()
    }
}
