//! The scenario of a seed: how many processes run, which webhooks are posted and when, and which
//! faults strike.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{Rate, TargetLimits};
use hookbox_event::{Condition, Literal, RouteName, SourceName, Test};
use hookbox_worker::OnConflict;

use crate::body::{EventBody, Kind, Plan};
use crate::chance::Chance;
use crate::fault::Fault;

/// The only source of a run. Its requests are signed as Begini signs them.
pub(crate) const SOURCE: &str = "begini";

/// The uids whose events the route `audit` selects: about half of them, so that events of one topic
/// go to different routes.
const AUDITED: [&str; 6] = ["u-0", "u-2", "u-4", "u-6", "u-8", "u-10"];

/// The event types, each with the routes whose patterns match it.
const KINDS: &[(&str, &[&str])] = &[
    ("ios_score.complete", &["scores", "audit"]),
    ("android_score.complete", &["scores"]),
    ("application.complete", &["applications"]),
    ("other.thing", &["unrouted"]),
];

/// The routes with their topic patterns. The last one has no pattern, and matches every topic that
/// no other route matches.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("scores", "begini.*_score.complete"),
    ("audit", "begini.ios_score.*"),
    ("applications", "begini.application.#"),
    ("unrouted", ""),
];

/// The routes that have an effect, in the scenarios with effects. Their calls go to one target.
const EFFECT_ROUTES: &[&str] = &["audit", "applications"];

/// The routes that apply only the newest event of each key. Only some scenarios use this list.
const NEWEST_ROUTES: &[&str] = &["scores", "audit"];

/// One webhook that a sender posts until it is accepted, or until its retries are used up.
#[derive(Clone)]
pub(crate) struct Post {
    pub number: usize,
    pub body: Bytes,
    pub at: Duration,
    /// The number of tries after which the sender gives up; `None` if it never gives up.
    pub tries: Option<u32>,
    pub forged: bool,
}

pub(crate) struct Scenario {
    pub seed: u64,
    pub ingests: u64,
    pub workers: u64,
    pub posts: Vec<Post>,
    pub rates: BTreeMap<Fault, u64>,
    /// The length of the first phase of the run, in which faults strike.
    pub safety: Duration,
    pub slots: usize,
    pub batch_max: usize,
    pub concurrency: NonZeroUsize,
    pub prefetch: u16,
    /// The number of attempts in a round. If all of them fail, the event becomes a dead letter.
    pub attempts: u32,
    pub on_conflict: OnConflict,
    pub schedule_interval: Duration,
    /// Whether the handler handles all events of a batch at once.
    pub at_once: bool,
    /// The limits of the target of external calls; `None` if every route has a handler.
    pub calls: Option<TargetLimits>,
    /// Whether some routes apply only the newest event of each key.
    pub newest: bool,
}

impl Scenario {
    pub fn of(seed: u64) -> Self {
        // The scenario has its own generator of random numbers. So it stays the same for a seed,
        // however many numbers the run draws.
        let chance = Chance::new(seed ^ 0x5ce0_a210);
        let safety = chance.millis(2_000, 12_000);
        let posts = posts(&chance, safety);
        Self {
            seed,
            ingests: chance.between(1, 2),
            workers: chance.between(1, 3),
            posts,
            rates: rates(&chance),
            safety,
            slots: size(&chance, 1, 3),
            batch_max: *chance.pick(&[1, 2, 5, 64]).unwrap_or(&64),
            concurrency: NonZeroUsize::new(size(&chance, 1, 3)).unwrap_or(NonZeroUsize::MIN),
            prefetch: u16::try_from(chance.between(1, 12)).unwrap_or(1),
            attempts: u32::try_from(chance.between(1, 4)).unwrap_or(1),
            on_conflict: match chance.below(100) {
                0..30 => OnConflict::Process,
                30..60 => OnConflict::Duplicate,
                _ => OnConflict::DeadLetter,
            },
            schedule_interval: chance.millis(300, 1_000),
            at_once: chance.percent(50),
            calls: chance.percent(50).then(|| limits(&chance)),
            newest: chance.percent(50),
        }
    }

    /// Returns the limits of the target to which the calls of a route go; `None` if the route has a
    /// handler.
    pub fn calls_of(&self, route: &RouteName) -> Option<TargetLimits> {
        self.calls
            .filter(|_| EFFECT_ROUTES.contains(&route.as_str()))
    }

    /// Returns whether a route applies only the newest event of each key.
    pub fn applies_newest(&self, route: &RouteName) -> bool {
        self.newest && NEWEST_ROUTES.contains(&route.as_str())
    }
}

fn limits(chance: &Chance) -> TargetLimits {
    let number = |low, high| {
        let number = u32::try_from(chance.between(low, high)).unwrap_or(1);
        NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
    };
    TargetLimits {
        concurrency: number(1, 4),
        rate: chance.percent(30).then(|| Rate {
            calls: number(1, 5),
            per: chance.millis(500, 2_000),
        }),
    }
}

fn size(chance: &Chance, low: u64, high: u64) -> usize {
    usize::try_from(chance.between(low, high)).unwrap_or(1)
}

/// Draws which faults a run has, and how often each of them strikes. A run has only some of the
/// faults, because one fault can hide an error that shows only without that fault.
fn rates(chance: &Chance) -> BTreeMap<Fault, u64> {
    let share = *chance.pick(&[15, 40, 40, 70]).unwrap_or(&40);
    let strength = chance.between(1, 4);
    let some = Fault::ALL.iter().filter(|_| chance.percent(share));
    some.map(|it| (*it, (it.per_mille() * strength).div_ceil(2)))
        .collect()
}

fn posts(chance: &Chance, safety: Duration) -> Vec<Post> {
    let events = chance.between(3, 10);
    let within = u64::try_from(safety.as_millis()).unwrap_or(0);
    let burst = chance.percent(30);
    let mut posts = Vec::new();
    for event in 0..events {
        let bodies = bodies(chance, event);
        for body in bodies {
            let late = if burst { within / 10 } else { within };
            posts.push(Post {
                number: posts.len(),
                body,
                at: chance.millis(0, late),
                tries: chance
                    .percent(30)
                    .then(|| u32::try_from(chance.between(1, 3)).unwrap_or(1)),
                forged: false,
            });
        }
    }
    if chance.percent(30) {
        let body = said(chance, events, 0).bytes();
        posts.push(Post {
            number: posts.len(),
            body,
            at: chance.millis(0, within),
            tries: Some(3),
            forged: true,
        });
    }
    posts
}

/// Returns all bodies that are posted for one event: copies of one body, or copies of it and a
/// different body with the same event id, or text that is not JSON.
fn bodies(chance: &Chance, event: u64) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    let copies = *chance.pick(&[1, 1, 1, 2, 2, 3, 4]).unwrap_or(&1);
    if chance.percent(5) {
        let text = format!("{{\"uid\":\"u-{event}\" and then no JSON");
        return vec![text.into(); copies];
    }
    let first = said(chance, event, 0);
    for _ in 0..copies {
        bodies.push(first.bytes());
    }
    if chance.percent(15) {
        let mut other = said(chance, event, 1);
        other.event = first.event;
        for _ in 0..chance.between(1, 2) {
            bodies.push(other.bytes());
        }
    }
    bodies
}

fn said(chance: &Chance, event: u64, variant: u64) -> EventBody {
    let name = chance.pick(KINDS).map_or("other.thing", |it| it.0);
    EventBody {
        integration_id: 7,
        uid: format!("u-{event}"),
        event: Kind {
            name: name.to_owned(),
        },
        plan: plan(chance),
        // Three of four events have the account `a`. The versions do not rise with the events.
        account: if event % 4 == 3 { "b" } else { "a" }.to_owned(),
        version: (event * 7 + variant * 3) % 8,
        variant,
    }
}

fn plan(chance: &Chance) -> Plan {
    let times = u32::try_from(chance.between(1, 5)).unwrap_or(1);
    match chance.below(100) {
        0..60 => Plan::Well,
        60..76 => Plan::Transient(times),
        76..84 => Plan::Permanent,
        84..90 => Plan::Panic(times),
        90..93 => Plan::Hang(times),
        93..95 => Plan::Commit,
        95..97 => Plan::Kill,
        97..98 => Plan::RollBack,
        _ => Plan::Swallow(times),
    }
}

/// Returns the routes on which a webhook with this body must get an outcome.
pub(crate) fn routes_of(body: &[u8]) -> Vec<RouteName> {
    let said = serde_json::from_slice::<EventBody>(body).ok();
    let kind = said.as_ref().map(|it| it.event.name.as_str());
    let routes = KINDS
        .iter()
        .find(|it| Some(it.0) == kind)
        .map_or(&["unrouted"][..], |it| it.1);
    let is_audited = said.is_some_and(|it| AUDITED.contains(&it.uid.as_str()));
    let routes = routes.iter().filter(|name| **name != "audit" || is_audited);
    routes.map(|name| route(name)).collect()
}

/// Returns the conditions of the route with this name.
pub(crate) fn conditions(route: &str) -> Vec<Condition> {
    let uids = || AUDITED.map(|uid| Literal::String(uid.to_owned()));
    let audited = || Condition {
        pointer: "/uid".parse().expect("a valid JSON pointer"),
        test: Test::OneOf(uids().into()),
    };
    (route == "audit").then(audited).into_iter().collect()
}

pub(crate) fn route(name: &str) -> RouteName {
    name.parse()
        .expect("this text must be a valid name of a route")
}

pub(crate) fn source() -> SourceName {
    SOURCE
        .parse()
        .expect("the constant SOURCE must be a valid name of a source")
}
