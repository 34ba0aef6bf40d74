//! Decides which routes get an event: by its topic, and by conditions on its body.

use std::ops::Range;

use crate::{Condition, Conditions, RouteName, SourceName, Topic, TopicPattern};

/// What a route selects: the events of some topics for which all conditions hold.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The name of the route.
    pub route: RouteName,
    /// The patterns of topics. An event must match one of them.
    pub topics: Vec<TopicPattern>,
    /// The conditions on the body, all of which must hold; often none.
    pub conditions: Vec<Condition>,
}

/// What the routes of a deployment select.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Every route that selects events.
    pub selections: Vec<Selection>,
    /// The route of events that no other route selects.
    pub unrouted: RouteName,
}

/// The conditions of the routes that may select events of one source. All of them are decided in
/// one scan of a body, before the topic of the event is known.
#[derive(Debug, Default)]
pub struct SourceConditions {
    conditions: Conditions,
    routes: Vec<ConditionedRoute>,
}

/// A route with conditions.
#[derive(Debug)]
struct ConditionedRoute {
    /// The index of the route in [`Routing::selections`].
    index: usize,
    topics: Vec<TopicPattern>,
    /// The range of the route's conditions among those of the source.
    conditions: Range<usize>,
}

/// Those routes with conditions that select an event, as indexes in [`Routing::selections`]. Events
/// of the same topic with equal `MatchedRoutes` go to the same routes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct MatchedRoutes(Vec<usize>);

impl Selection {
    /// Returns whether the conditions of both routes may hold for the same event. The topics of the
    /// routes are not compared.
    pub fn may_share(&self, other: &Self) -> bool {
        let excludes = |one: &Condition| other.conditions.iter().any(|it| one.excludes(it));
        !self.conditions.iter().any(excludes)
    }

    fn takes(&self, topic: &Topic) -> bool {
        takes(&self.topics, topic)
    }
}

fn takes(patterns: &[TopicPattern], topic: &Topic) -> bool {
    patterns.iter().any(|pattern| pattern.matches(topic))
}

impl Routing {
    /// Returns the conditions of the routes that may select events of this source; none if no such
    /// route has conditions.
    pub fn conditions_of(&self, source: &SourceName) -> SourceConditions {
        let mut all: Vec<&Condition> = Vec::new();
        let mut routes = Vec::new();
        for (index, selection) in self.selections.iter().enumerate() {
            let may_take = |pattern: &TopicPattern| pattern.may_match_of(source);
            if selection.conditions.is_empty() || !selection.topics.iter().any(may_take) {
                continue;
            }
            let first = all.len();
            all.extend(&selection.conditions);
            routes.push(ConditionedRoute {
                index,
                topics: selection.topics.clone(),
                conditions: first..all.len(),
            });
        }
        let conditions = Conditions::new(all);
        SourceConditions { conditions, routes }
    }

    /// Returns the routes that get an event: those that select its topic and have no conditions,
    /// and those that [`SourceConditions::matched`] has returned for it. There is always at least
    /// one route.
    pub fn routes_of(&self, topic: &Topic, matched: &MatchedRoutes) -> Vec<RouteName> {
        let selects = |(index, selection): &(usize, &Selection)| {
            if selection.conditions.is_empty() {
                selection.takes(topic)
            } else {
                matched.0.contains(index)
            }
        };
        let selecting = self.selections.iter().enumerate().filter(selects);
        let routes: Vec<RouteName> = selecting.map(|(_, it)| it.route.clone()).collect();
        if routes.is_empty() {
            vec![self.unrouted.clone()]
        } else {
            routes
        }
    }
}

impl SourceConditions {
    /// Returns the conditions, to be decided by [`digest_json`](crate::digest_json).
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Returns the routes with conditions that select an event with this topic. `holds` says which
    /// of the conditions hold; for a body that is not JSON it is empty, and no condition holds.
    pub fn matched(&self, topic: &Topic, holds: &[bool]) -> MatchedRoutes {
        let matching = self.routes.iter().filter(|route| {
            let decided = holds.get(route.conditions.clone());
            decided.is_some_and(|all| all.iter().all(|holds| *holds)) && takes(&route.topics, topic)
        });
        MatchedRoutes(matching.map(|route| route.index).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Literal, Test, decide_conditions};

    fn selection(route: &str, topics: &str, conditions: &[(&str, Test)]) -> Selection {
        let condition = |(pointer, test): &(&str, Test)| Condition {
            pointer: pointer.parse().expect("the pointer must be valid"),
            test: test.clone(),
        };
        Selection {
            route: route.parse().expect("the route name must be valid"),
            topics: vec![topics.parse().expect("the pattern must be valid")],
            conditions: conditions.iter().map(condition).collect(),
        }
    }

    fn is(text: &str) -> Test {
        Test::OneOf(vec![Literal::String(text.to_owned())])
    }

    fn routing() -> Routing {
        Routing {
            selections: vec![
                selection("gold", "shop.#", &[("/level", is("gold"))]),
                selection("all", "shop.order", &[]),
                selection(
                    "big",
                    "*.order",
                    &[("/level", is("gold")), ("/size", is("big"))],
                ),
                selection("other", "bank.#", &[("/level", Test::Exists(false))]),
            ],
            unrouted: "unrouted".parse().expect("the route name must be valid"),
        }
    }

    fn routes(topic: &str, body: &str) -> Vec<String> {
        let routing = routing();
        let topic: Topic = topic.parse().expect("the topic must be valid");
        let source = topic.as_str().split('.').next().unwrap_or_default();
        let conditions =
            routing.conditions_of(&source.parse().expect("the source name must be valid"));
        let decided = decide_conditions(body.as_bytes(), conditions.conditions());
        let holds = decided.unwrap_or_default();
        let matched = conditions.matched(&topic, &holds);
        let routes = routing.routes_of(&topic, &matched);
        routes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_route_selects_by_topic_and_by_all_its_conditions() {
        let gold = r#"{"level":"gold"}"#;
        let both = r#"{"size":"big","level":"gold"}"#;
        assert_eq!(routes("shop.order", gold), ["gold", "all"]);
        assert_eq!(routes("shop.order", both), ["gold", "all", "big"]);
        assert_eq!(routes("shop.order", r#"{"size":"big"}"#), ["all"]);
        assert_eq!(routes("shop.payment", both), ["gold"]);
        assert_eq!(routes("shop.payment", "{}"), ["unrouted"]);
        assert_eq!(routes("bank.order", both), ["big"]);
        assert_eq!(routes("bank.payment", "{}"), ["other"]);
        assert_eq!(routes("bank.payment", gold), ["unrouted"]);
    }

    #[test]
    fn no_condition_holds_for_a_body_that_is_not_json() {
        assert_eq!(routes("bank.untyped", "{"), ["unrouted"]);
        assert_eq!(routes("shop.order", "level=gold"), ["all"]);
        assert_eq!(routes("shop.untyped", ""), ["unrouted"]);
    }

    #[test]
    fn routes_share_no_event_if_their_conditions_exclude_each_other() {
        let of = |test: Test| selection("one", "#", &[("/size", is("big")), ("/level", test)]);
        assert!(!of(is("gold")).may_share(&of(is("silver"))));
        assert!(of(is("gold")).may_share(&of(Test::Exists(true))));
        assert!(of(is("gold")).may_share(&selection("all", "#", &[])));
        assert!(selection("all", "#", &[]).may_share(&selection("none", "#", &[])));
    }

    #[test]
    fn only_the_conditions_of_routes_that_may_take_a_source_are_decided() {
        let of = |source: &str| {
            let conditions =
                routing().conditions_of(&source.parse().expect("the source name must be valid"));
            conditions
                .routes
                .iter()
                .map(|it| it.index)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("shop"), [0, 2]);
        assert_eq!(of("bank"), [2, 3]);
        assert_eq!(of("elsewhere"), [2]);
        let mut without = routing();
        without.selections.retain(|it| it.conditions.is_empty());
        let conditions =
            without.conditions_of(&"shop".parse().expect("the source name must be valid"));
        assert!(conditions.conditions().is_empty());
    }

    #[test]
    fn equal_topics_with_equal_matches_go_to_the_same_routes() {
        let routing = routing();
        let shop = routing.conditions_of(&"shop".parse().expect("the source name must be valid"));
        let order: Topic = "shop.order".parse().expect("the topic must be valid");
        let payment: Topic = "shop.payment".parse().expect("the topic must be valid");
        // The third condition, on the size, belongs only to a route that does not take payments. So
        // it changes which routes get an order, and not which routes get a payment.
        let (small, big) = ([true, true, false], [true, true, true]);
        assert_ne!(shop.matched(&order, &small), shop.matched(&order, &big));
        assert_eq!(shop.matched(&payment, &small), shop.matched(&payment, &big));
    }
}
