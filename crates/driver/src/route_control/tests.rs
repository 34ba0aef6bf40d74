//! Tests of the rules for pauses and limits of routes.

#![allow(clippy::unwrap_used)]

use super::*;

fn scores() -> RouteName {
    "scores".parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

const RESUME: RouteChange = RouteChange::Resume { why: None };

fn pause(why: &str) -> RouteChange {
    RouteChange::Pause { why: why.into() }
}

#[test]
fn a_scope_is_parsed_from_its_text() {
    for scope in [RouteScope::All, RouteScope::One(scores())] {
        assert_eq!(scope.as_str().parse(), Ok(scope.clone()));
    }
    assert!("*".parse::<RouteName>().is_err());
    assert!("not a name".parse::<RouteScope>().is_err());
}

#[test]
fn the_first_reason_of_a_pause_stands_until_it_is_resumed() {
    let runs = RouteControl::none(RouteScope::One(scores()));
    assert_eq!(runs.after(&RESUME, "ann", at(1)), None);
    let paused = runs
        .after(&pause("the bank is down"), "ann", at(2))
        .unwrap();
    let expected = RoutePause {
        by: "ann".into(),
        why: "the bank is down".into(),
        since: at(2),
    };
    assert_eq!(paused.pause, Some(expected));
    assert_eq!(paused.after(&pause("another"), "bob", at(3)), None);
    let resumed = paused.after(&RESUME, "bob", at(4)).unwrap();
    assert_eq!(
        (resumed.pause.clone(), resumed.resumed_at),
        (None, Some(at(4)))
    );
    let again = resumed.after(&pause("again"), "bob", at(5)).unwrap();
    assert_eq!(again.pause.unwrap().since, at(5));
}

#[test]
fn a_reason_is_audited() {
    let row = RouteControl::none(RouteScope::One(scores()));
    let why = Some("the bank is back".to_owned());
    let resume = RouteChange::Resume { why: why.clone() };
    assert_eq!(row.subject(&resume), "route scores: the bank is back");
    assert_eq!(row.subject(&RESUME), "route scores");
    let limit = RouteChange::Limit {
        why,
        rate: LimitChange::Keep,
        concurrency: LimitChange::Keep,
    };
    assert_eq!(
        row.subject(&limit),
        "route scores: no rate limit, concurrency as in the config (the bank is back)"
    );
}

#[test]
fn a_limit_that_is_not_named_stays() {
    let rate: EventRate = "5/s".parse().unwrap();
    let two = NonZeroU32::new(2).unwrap();
    let none = RouteControl::none(RouteScope::One(scores()));
    let limit = |rate, concurrency| RouteChange::Limit {
        why: None,
        rate,
        concurrency,
    };
    let change = limit(LimitChange::Set(rate), LimitChange::Keep);
    let limited = none.after(&change, "ann", at(1)).unwrap();
    assert_eq!(
        limited.subject(&change),
        "route scores: rate 5/s for each worker, concurrency as in the config"
    );
    assert_eq!(limited.after(&change, "ann", at(2)), None);
    let change = limit(LimitChange::Keep, LimitChange::Set(two));
    let both = limited.after(&change, "ann", at(3)).unwrap();
    let expected = RouteLimits {
        rate_per_worker: Some(rate),
        concurrency_per_worker: Some(two),
    };
    assert_eq!(both.limits, expected);
    let change = limit(LimitChange::Clear, LimitChange::Clear);
    let cleared = both.after(&change, "ann", at(4)).unwrap();
    assert_eq!(cleared, none);
}

#[test]
fn a_route_has_its_own_pause_and_that_of_all() {
    let paused = |scope: RouteScope, why: &str| {
        let none = RouteControl::none(scope);
        none.after(&pause(why), "ann", at(1)).unwrap()
    };
    let other: RouteName = "other".parse().unwrap();
    let one = RouteScope::One(scores());
    let own = paused(one.clone(), "own");
    let controls = RouteControls::new(vec![own.clone()]);
    assert_eq!(controls.pause_of(&scores()).unwrap().0, &one);
    assert!(!controls.is_paused(&other));
    let controls = RouteControls::new(vec![own, paused(RouteScope::All, "all")]);
    assert_eq!(controls.rows()[0].scope, RouteScope::All);
    assert_eq!(controls.pause_of(&scores()).unwrap().1.why, "own");
    assert_eq!(controls.pause_of(&other).unwrap().1.why, "all");
    assert_eq!(controls.limits_of(&other), RouteLimits::default());
}
