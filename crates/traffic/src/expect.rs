//! Computes the expected outcomes: for each event, which rows in the store its accepted requests
//! must lead to.

use std::collections::BTreeMap;

use hookbox_event::{RouteName, Routing, SourceConditions, SourceName, Topic, decide_conditions};
use serde::Serialize;

use super::events::Flaw;
use super::plan::{Fate, Nature, Role, Shares};
use super::sender::{End, SentRequest};

/// How many receipts must have which outcome once all events are processed. The numbers hold only
/// if the handler never fails and the source has the preset of Begini, because other sources have
/// no JSON Schema that a malformed body would violate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// All receipts: the requests that were answered with 200.
    pub receipts: u64,
    /// Receipts with outcome done: one for each distinct valid event. If the event was sent with
    /// two bodies, it is a receipt of the body that a worker processes first.
    pub done: u64,
    /// Receipts with outcome duplicate: all but the first receipt of the same body.
    pub duplicate: u64,
    /// Receipts with outcome conflict: the first receipt of an event's second, different body.
    pub conflict: u64,
    /// Receipts that become dead letters, because their body is signed but malformed, by the reason
    /// of the dead letter.
    pub dead: BTreeMap<&'static str, u64>,
}

/// The counts over all events of a run.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) total: Expected,
    pub(super) by_topic: BTreeMap<String, Expected>,
    pub(super) by_route: BTreeMap<String, Expected>,
    /// Events of which at least one body was accepted.
    pub(super) distinct: u64,
    /// Requests that were given up without a conclusive answer and that may have been stored.
    pub(super) unconfirmed: u64,
    /// Requests that were given up and that were certainly not stored.
    pub(super) undelivered: u64,
    /// Altered requests that were accepted, which is a mistake of the receiver.
    pub(super) wrongly_accepted: u64,
    /// Genuine requests that were refused, which is a mistake of the receiver or a wrong key.
    pub(super) wrongly_refused: u64,
    /// Altered requests that were refused, as they must be.
    pub(super) rightly_refused: u64,
}

/// The source that receives the requests, and which of its events the routes of the config select.
pub(super) struct Receiver<'a> {
    source: &'a SourceName,
    routing: &'a Routing,
    conditions: SourceConditions,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(source: &'a SourceName, routing: &'a Routing) -> Self {
        Self {
            source,
            routing,
            conditions: routing.conditions_of(source),
        }
    }

    /// Returns the topic that ingest gives to the event. A body that is not JSON has no event type.
    fn topic(&self, fate: &Fate) -> Topic {
        let kind = match fate.nature {
            Nature::Flawed(Flaw::CutShort) => None,
            Nature::Valid | Nature::Tampered | Nature::Flawed(_) => Some(fate.event.kind.as_str()),
        };
        Topic::of(self.source, kind)
    }

    /// Returns the routes to which ingest publishes the body of a request. The body is generated
    /// again only if a route has conditions on it.
    fn routes(&self, fate: &Fate, role: Role) -> Vec<RouteName> {
        let topic = self.topic(fate);
        let conditions = self.conditions.conditions();
        let holds = (!conditions.is_empty())
            .then(|| decide_conditions(&fate.body(role), conditions).ok())
            .flatten()
            .unwrap_or_default();
        let matched = self.conditions.matched(&topic, &holds);
        self.routing.routes_of(&topic, &matched)
    }
}

/// Adds up the expected outcomes of the requests that were sent.
pub(super) fn sum_up(
    sent: &mut [SentRequest],
    seed: u64,
    shares: &Shares,
    receiver: &Receiver<'_>,
) -> Sum {
    sent.sort_unstable_by_key(|sent| (sent.number, sent.role));
    let mut sum = Sum::default();
    for event in sent.chunk_by(|a, b| a.number == b.number) {
        if let Some(first) = event.first() {
            sum.add(event, &Fate::of(seed, first.number, shares), receiver);
        }
    }
    sum
}

impl Sum {
    fn add(&mut self, event: &[SentRequest], fate: &Fate, receiver: &Receiver<'_>) {
        let genuine = fate.nature != Nature::Tampered;
        let (mut same, mut other) = (0, 0);
        for sent in event {
            match (sent.end, genuine) {
                (End::Accepted, false) => self.wrongly_accepted += 1,
                (End::Accepted, true) => match sent.role {
                    Role::Original | Role::Duplicate => same += 1,
                    Role::Conflict => other += 1,
                },
                (End::Refused, true) => self.wrongly_refused += 1,
                (End::Refused, false) => self.rightly_refused += 1,
                (End::GaveUp { maybe: true }, _) => self.unconfirmed += 1,
                (End::GaveUp { maybe: false }, _) => self.undelivered += 1,
            }
        }
        if same + other == 0 {
            return;
        }
        self.distinct += 1;
        let topic = receiver.topic(fate).to_string();
        let by_topic = self.by_topic.entry(topic).or_default();
        for expected in [&mut self.total, by_topic] {
            expected.add(fate.nature, same, other);
        }
        self.add_routes(fate, same, other, receiver);
    }

    /// Counts one event for each route that gets one of its bodies.
    fn add_routes(&mut self, fate: &Fate, same: u64, other: u64, receiver: &Receiver<'_>) {
        let mut on_routes: BTreeMap<RouteName, (u64, u64)> = BTreeMap::new();
        if same > 0 {
            for route in receiver.routes(fate, Role::Original) {
                on_routes.entry(route).or_default().0 = same;
            }
        }
        if other > 0 {
            for route in receiver.routes(fate, Role::Conflict) {
                on_routes.entry(route).or_default().1 = other;
            }
        }
        for (route, (of_first, of_second)) in on_routes {
            let expected = self.by_route.entry(route.to_string()).or_default();
            if of_first == 0 && same > 0 {
                expected.add_conflict(of_second);
            } else {
                expected.add(fate.nature, of_first, of_second);
            }
        }
    }
}

impl Expected {
    /// Counts one event with `same` receipts of its original body and `other` receipts of its
    /// conflicting body. The body that a worker processes first has outcome done; the other body is
    /// the conflict.
    fn add(&mut self, nature: Nature, same: u64, other: u64) {
        let versions = u64::from(same > 0) + u64::from(other > 0);
        self.receipts += same + other;
        self.duplicate += same + other - versions;
        match nature {
            Nature::Valid | Nature::Tampered => {
                self.done += 1;
                self.conflict += versions - 1;
            }
            Nature::Flawed(flaw) => *self.dead.entry(reason(flaw)).or_default() += 1,
        }
    }

    /// Counts the receipts of an event's second body on a route that does not get the first body.
    /// The event is stored with its first body, so the second body is a conflict on this route as
    /// well.
    fn add_conflict(&mut self, receipts: u64) {
        self.receipts += receipts;
        self.conflict += 1;
        self.duplicate += receipts - 1;
    }
}

fn reason(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::CutShort => "malformed",
        Flaw::WithoutUid | Flaw::NumericUid | Flaw::TextScore | Flaw::WithoutTime => {
            "schema_broken"
        }
    }
}

#[cfg(test)]
mod tests {
    use hookbox_event::{Condition, ExactNumber, Literal, Selection, Test};

    use super::*;

    /// Checks the expected outcomes of event 0 after the requests in `sent`: the numbers of done,
    /// duplicate, conflict and dead.
    fn check(shares: Shares, sent: &[(Role, End)], expect: (u64, u64, u64, u64)) {
        let mut sent: Vec<SentRequest> = sent
            .iter()
            .map(|(role, end)| SentRequest {
                number: 0,
                role: *role,
                end: *end,
            })
            .collect();
        let source = "begini".parse().expect("the source name must be valid");
        let routing = Routing {
            selections: Vec::new(),
            unrouted: "unrouted".parse().expect("the route name must be valid"),
        };
        let receiver = Receiver::new(&source, &routing);
        let sum = sum_up(&mut sent, 5, &shares, &receiver);
        if sum.distinct > 0 {
            assert_eq!(sum.by_route["unrouted"], sum.total, "{sent:?}");
        }
        let total = sum.total;
        let dead = total.dead.values().sum::<u64>();
        let found = (total.done, total.duplicate, total.conflict, dead);
        assert_eq!(found, expect, "{sent:?}");
        assert_eq!(total.receipts, expect.0 + expect.1 + expect.2 + expect.3);
    }

    #[test]
    fn each_accepted_request_has_one_outcome() {
        use Role::{Conflict, Duplicate, Original};
        let lost = End::GaveUp { maybe: true };
        let valid = Shares::default();
        let yes = End::Accepted;
        check(valid, &[(Original, yes)], (1, 0, 0, 0));
        check(valid, &[(Original, yes), (Duplicate, yes)], (1, 1, 0, 0));
        check(valid, &[(Original, lost), (Duplicate, yes)], (1, 0, 0, 0));
        check(valid, &[(Original, lost)], (0, 0, 0, 0));
        let three = [(Original, yes), (Duplicate, yes), (Conflict, yes)];
        check(valid, &three, (1, 1, 1, 0));
        check(valid, &[(Original, lost), (Conflict, yes)], (1, 0, 0, 0));
        let malformed = Shares {
            malformed: 100.0,
            ..Shares::default()
        };
        check(
            malformed,
            &[(Original, yes), (Duplicate, yes)],
            (0, 1, 0, 1),
        );
        let tampered = Shares {
            tampered: 100.0,
            ..Shares::default()
        };
        check(tampered, &[(Original, End::Refused)], (0, 0, 0, 0));
    }

    fn selection(route: &str, topics: &str, conditions: Vec<Condition>) -> Selection {
        Selection {
            route: route.parse().expect("the route name must be valid"),
            topics: vec![topics.parse().expect("the topic pattern must be valid")],
            conditions,
        }
    }

    /// Returns how many receipts, and how many conflicts, are expected on each route when each
    /// event is sent once, and each conflict after its original.
    fn on_routes(
        shares: &Shares,
        events: u32,
        selections: Vec<Selection>,
    ) -> BTreeMap<String, (u64, u64)> {
        let source = "begini".parse().expect("the source name must be valid");
        let routing = Routing {
            selections,
            unrouted: "unrouted".parse().expect("the route name must be valid"),
        };
        let receiver = Receiver::new(&source, &routing);
        let request = |number, role| SentRequest {
            number,
            role,
            end: End::Accepted,
        };
        let mut sent: Vec<SentRequest> = (0..events)
            .flat_map(|number| {
                let conflict = shares.conflicts > 0.0;
                let conflict = conflict.then(|| request(number, Role::Conflict));
                [request(number, Role::Original)]
                    .into_iter()
                    .chain(conflict)
            })
            .collect();
        let sum = sum_up(&mut sent, 5, shares, &receiver);
        let routes = sum.by_route.into_iter();
        routes
            .map(|(route, expected)| (route, (expected.receipts, expected.conflict)))
            .collect()
    }

    #[test]
    fn an_event_counts_for_every_route_that_selects_it() {
        let is_web = Condition {
            pointer: "/event/details/platform"
                .parse()
                .expect("the JSON pointer must be valid"),
            test: Test::OneOf(vec![Literal::String("WEB".to_owned())]),
        };
        let found = on_routes(
            &Shares::default(),
            200,
            vec![
                selection("scores", "begini.*_score.complete", Vec::new()),
                selection("complete", "begini.*.complete", Vec::new()),
                selection("web", "begini.#", vec![is_web]),
            ],
        );
        let of = |route: &str| found[route].0;
        assert!(0 < of("web") && of("web") < of("scores") && of("scores") < of("complete"));
        assert_eq!(of("complete") + of("unrouted"), 200);
    }

    #[test]
    fn the_bodies_of_a_conflict_may_go_to_different_routes() {
        let conflicts = Shares {
            conflicts: 100.0,
            ..Shares::default()
        };
        let limit = || ExactNumber::parse("500").expect("the limit must be a valid number");
        let score = |test| Condition {
            pointer: "/event/details/calculated/score"
                .parse()
                .expect("the JSON pointer must be valid"),
            test,
        };
        let found = on_routes(
            &conflicts,
            2_000,
            vec![
                selection("low", "#", vec![score(Test::Less(limit()))]),
                selection("high", "#", vec![score(Test::Greater(limit()))]),
            ],
        );
        // The score in a second body is higher by one than in the first body. So in some pairs one
        // body has exactly the limit of 500 as its score, and no route selects this body.
        let all = found.values().map(|it| it.0).sum::<u64>();
        assert_eq!(all, 4_000);
        let (low, high, none) = (found["low"], found["high"], found["unrouted"]);
        assert!(
            low.1 * 2 < low.0 && high.1 * 2 > high.0 && none.0 > 0,
            "{found:?}"
        );
    }
}
