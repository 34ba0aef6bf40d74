//! The replay of stored events on a route, and the rule that decides which events may be replayed.

use hookbox_event::{
    Condition, Conditions, EventId, EventNumber, RouteName, SourceName, Timestamp, Topic,
    TopicPattern, decide_conditions,
};
use serde::Serialize;

use crate::ClaimState;

/// Selects stored events that are to be put on a route. An event must match every field that is
/// set.
///
/// What the other fields select changes from one call to the next: events are stored, not always in
/// the order in which they arrived, and events that wait for an attempt become done. A caller that
/// replays exactly the events of a plan ([`crate::Ledger::replayable`]), page by page, sets
/// `numbers` to them. A bound by time or by number would not be exact.
#[derive(Debug, Clone)]
pub struct ReplayFilter {
    /// The route on which the events are to run.
    pub route: RouteName,
    /// The patterns of the topics that the route selects. An event with another topic is left
    /// alone. An empty list selects every topic.
    pub topics: Vec<TopicPattern>,
    /// The conditions of the route on the body. An event that the route never had is left alone
    /// unless all of them hold for its body. An event that is done on the route is not checked,
    /// because it was selected when it was received.
    pub conditions: Vec<Condition>,
    /// Whether events that are done on the route run again. If not, only events that the route
    /// never had are put on it.
    pub again: bool,
    /// Selects only these events; empty for any event.
    pub events: Vec<EventId>,
    /// Selects only the events with these numbers; empty for any number.
    pub numbers: Vec<EventNumber>,
    /// Selects only events of this source.
    pub source: Option<SourceName>,
    /// Selects only events of this topic.
    pub topic: Option<Topic>,
    /// Selects only events whose first receipt arrived at this moment or later.
    pub since: Option<Timestamp>,
    /// Selects only events whose first receipt arrived before this moment.
    pub until: Option<Timestamp>,
}

/// A position in the list of stored events. The list is ordered by the arrival of each event's
/// first receipt, and then by the number of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayPosition {
    /// When the first receipt of the event arrived.
    pub at: Timestamp,
    /// The number of the event.
    pub number: EventNumber,
}

/// An event that a filter selects, with its state on the route.
#[derive(Debug, Clone)]
pub struct ReplayCandidate {
    /// The id of the event.
    pub event: EventId,
    /// The position of the event.
    pub position: ReplayPosition,
    /// The topic of the event.
    pub topic: Topic,
    /// The state of the event on the route; `None` when the route never had it.
    pub state: Option<ClaimState>,
    /// Whether the conditions of the route hold for the body. A store decides it by [`BodyCheck`],
    /// and only for an event whose body has to be read; for all others it is true.
    pub is_selected: bool,
    /// Whether the event has, on any route, a receipt that is not a conflict. A replay needs such a
    /// receipt, because it publishes the event with the header fields of the receipt. A conflict is
    /// left alone: an operator may replay it with `hookbox dead replay`.
    pub has_receipt: bool,
}

/// What a replay does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayable {
    /// The event is done on the route, and runs there in a new round.
    Again,
    /// The route never had the event, and runs it for the first time.
    First,
    /// The event is left alone.
    Left(LeftAlone),
}

/// Why a replay leaves an event alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftAlone {
    /// The route does not select the topic of the event.
    OtherTopic,
    /// The route never had the event, and the conditions of the route exclude its body.
    Excluded,
    /// The event is done on the route, and the filter selects only events that the route never had.
    Done,
    /// The event waits for an attempt on the route, or an attempt runs.
    Waiting,
    /// The event is a dead letter of the route. `hookbox dead replay` replays it.
    Dead,
    /// The event is stale on the route, because a newer event of the same key is done. It would
    /// become stale again.
    Stale,
    /// The event has no receipt with which it could be published.
    NoReceipt,
}

/// How many events a replay puts on the route, and how many it leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ReplayCounts {
    /// Events that are done on the route, and run there again.
    pub again: u64,
    /// Events that the route never had.
    pub first: u64,
    /// Events whose topic the route does not select.
    pub other_topic: u64,
    /// Events that the route never had, and whose bodies its conditions exclude.
    pub excluded: u64,
    /// Events that are done on the route and are not to run again.
    pub done: u64,
    /// Events that wait for an attempt on the route.
    pub waiting: u64,
    /// Dead letters of the route.
    pub dead: u64,
    /// Events that are stale on the route: a newer event of the same key is done.
    pub stale: u64,
    /// Events that have no receipt with which they could be published.
    pub without_receipt: u64,
}

/// What a replay would do, or has done, with one page of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayPage {
    /// How many events of the page are replayed, and how many are left alone.
    pub counts: ReplayCounts,
    /// The position of the last event of the page; `None` when the page is empty.
    pub last: Option<ReplayPosition>,
}

impl ReplayFilter {
    /// Returns what a replay with this filter does with an event.
    pub fn judge(&self, candidate: &ReplayCandidate) -> Replayable {
        let selects = |pattern: &TopicPattern| pattern.matches(&candidate.topic);
        if !self.topics.is_empty() && !self.topics.iter().any(selects) {
            return Replayable::Left(LeftAlone::OtherTopic);
        }
        if !candidate.has_receipt {
            return Replayable::Left(LeftAlone::NoReceipt);
        }
        match candidate.state {
            None if candidate.is_selected => Replayable::First,
            None => Replayable::Left(LeftAlone::Excluded),
            Some(ClaimState::Done) if self.again => Replayable::Again,
            Some(ClaimState::Done) => Replayable::Left(LeftAlone::Done),
            Some(ClaimState::Retrying | ClaimState::Running) => {
                Replayable::Left(LeftAlone::Waiting)
            }
            Some(ClaimState::Dead) => Replayable::Left(LeftAlone::Dead),
            Some(ClaimState::Stale) => Replayable::Left(LeftAlone::Stale),
        }
    }
}

/// Decides whether the conditions of a filter hold for bodies.
#[derive(Debug)]
pub struct BodyCheck<'f> {
    filter: &'f ReplayFilter,
    conditions: Conditions,
}

impl<'f> BodyCheck<'f> {
    /// Prepares the conditions of a filter, to check many bodies.
    pub fn new(filter: &'f ReplayFilter) -> Self {
        let conditions = Conditions::new(&filter.conditions);
        Self { filter, conditions }
    }

    /// Returns whether the body of an event has to be read, because it decides what a replay does
    /// with the event.
    pub fn needs_body(&self, candidate: &ReplayCandidate) -> bool {
        !self.conditions.is_empty() && self.filter.judge(candidate) == Replayable::First
    }

    /// Decides whether the conditions hold for an event whose body has to be read, and sets its
    /// `is_selected`. If the body is not stored, the event is not selected, because nothing shows
    /// that the conditions hold.
    pub fn decide(&self, candidate: &mut ReplayCandidate, body: Option<&[u8]>) {
        candidate.is_selected = body.is_some_and(|body| self.selects(body));
    }

    /// Returns whether all conditions hold for a body. No condition holds for one that is not JSON.
    fn selects(&self, body: &[u8]) -> bool {
        let decided = decide_conditions(body, &self.conditions);
        decided.is_ok_and(|holds| holds.iter().all(|holds| *holds))
    }
}

impl ReplayCounts {
    /// Counts one event, by what a replay does with it.
    pub fn add(&mut self, replayable: Replayable) {
        let count = match replayable {
            Replayable::Again => &mut self.again,
            Replayable::First => &mut self.first,
            Replayable::Left(LeftAlone::OtherTopic) => &mut self.other_topic,
            Replayable::Left(LeftAlone::Excluded) => &mut self.excluded,
            Replayable::Left(LeftAlone::Done) => &mut self.done,
            Replayable::Left(LeftAlone::Waiting) => &mut self.waiting,
            Replayable::Left(LeftAlone::Dead) => &mut self.dead,
            Replayable::Left(LeftAlone::Stale) => &mut self.stale,
            Replayable::Left(LeftAlone::NoReceipt) => &mut self.without_receipt,
        };
        *count += 1;
    }

    /// Returns how many events are put on the route.
    pub fn replayed(&self) -> u64 {
        self.again + self.first
    }
}

impl std::ops::AddAssign for ReplayCounts {
    fn add_assign(&mut self, other: Self) {
        self.again += other.again;
        self.first += other.first;
        self.other_topic += other.other_topic;
        self.excluded += other.excluded;
        self.done += other.done;
        self.waiting += other.waiting;
        self.dead += other.dead;
        self.stale += other.stale;
        self.without_receipt += other.without_receipt;
    }
}

#[cfg(test)]
impl ReplayFilter {
    /// Returns a filter that selects all events, for a route that selects one topic.
    pub(crate) fn sample(again: bool) -> Self {
        Self {
            route: "scores".parse().expect("the route name must be valid"),
            topics: vec!["begini.score".parse().expect("the pattern must be valid")],
            conditions: Vec::new(),
            again,
            events: Vec::new(),
            numbers: Vec::new(),
            source: None,
            topic: None,
            since: None,
            until: None,
        }
    }
}

#[cfg(test)]
impl ReplayCandidate {
    /// Returns the event with this number. Its topic is the one that [`ReplayFilter::sample`]
    /// selects.
    pub(crate) fn sample(number: u8, state: Option<ClaimState>) -> Self {
        Self {
            event: EventId::from_bytes([number; 16]),
            position: ReplayPosition {
                at: Timestamp::from_unix_micros(number.into()),
                number: EventNumber::from_i64(number.into()),
            },
            topic: "begini.score".parse().expect("the topic must be valid"),
            state,
            is_selected: true,
            has_receipt: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use hookbox_event::{Literal, Test};

    use super::*;
    use ClaimState::{Dead, Done, Retrying, Running, Stale};

    fn candidate(topic: &str, state: Option<ClaimState>, has_receipt: bool) -> ReplayCandidate {
        ReplayCandidate {
            topic: topic.parse().expect("the topic must be valid"),
            has_receipt,
            ..ReplayCandidate::sample(1, state)
        }
    }

    fn check(
        topic: &str,
        state: Option<ClaimState>,
        has_receipt: bool,
        again: bool,
        expect: Replayable,
    ) {
        let candidate = candidate(topic, state, has_receipt);
        let replayable = ReplayFilter::sample(again).judge(&candidate);
        assert_eq!(replayable, expect, "{candidate:?}");
        let mut counts = ReplayCounts::default();
        counts.add(expect);
        let is_replayed = !matches!(expect, Replayable::Left(_));
        assert_eq!(counts.replayed(), u64::from(is_replayed));
    }

    #[test]
    fn only_what_is_done_or_new_is_replayed() {
        let (topic, left) = ("begini.score", Replayable::Left);
        check(topic, None, true, false, Replayable::First);
        check(topic, None, true, true, Replayable::First);
        check(topic, None, false, true, left(LeftAlone::NoReceipt));
        check(topic, Some(Done), true, true, Replayable::Again);
        check(topic, Some(Done), true, false, left(LeftAlone::Done));
        check(topic, Some(Retrying), true, true, left(LeftAlone::Waiting));
        check(topic, Some(Running), true, true, left(LeftAlone::Waiting));
        check(topic, Some(Dead), true, true, left(LeftAlone::Dead));
        check(topic, Some(Stale), true, true, left(LeftAlone::Stale));
        let other = left(LeftAlone::OtherTopic);
        check("begini.other", Some(Done), true, true, other);
    }

    /// The body matters only for an event that the route never had and that a replay could put on
    /// it.
    #[test]
    fn conditions_decide_about_events_that_the_route_never_had() {
        let gold = Condition {
            pointer: "/level".parse().expect("the pointer must be valid"),
            test: Test::OneOf(vec![Literal::String("gold".to_owned())]),
        };
        let filter = ReplayFilter {
            conditions: vec![gold],
            ..ReplayFilter::sample(true)
        };
        let check = BodyCheck::new(&filter);
        for (topic, state, has_receipt, needs_body) in [
            ("begini.score", None, true, true),
            ("begini.score", None, false, false),
            ("begini.score", Some(Done), true, false),
            ("begini.other", None, true, false),
        ] {
            let candidate = candidate(topic, state, has_receipt);
            assert_eq!(check.needs_body(&candidate), needs_body, "{candidate:?}");
        }
        let left = Replayable::Left(LeftAlone::Excluded);
        for (body, expect) in [
            (Some(r#"{"level":"gold"}"#), Replayable::First),
            (Some(r#"{"level":"silver"}"#), left),
            (Some("{}"), left),
            (Some("no JSON"), left),
            // `None` means that the body is not stored.
            (None, left),
        ] {
            let mut candidate = candidate("begini.score", None, true);
            check.decide(&mut candidate, body.map(str::as_bytes));
            assert_eq!(filter.judge(&candidate), expect, "{body:?}");
        }
        let mut counts = ReplayCounts::default();
        counts.add(left);
        assert_eq!((counts.excluded, counts.replayed()), (1, 0));
    }
}
