//! Tests `routes list`, `routes pause`, `routes resume` and `routes set`: the question that each
//! change asks, what it changes, and what it reports.

use expect_test::expect;
use hookbox_driver::{Backlog, LimitChange, RouteChange, RouteScope};
use hookbox_operations::CommandError;
use hookbox_operations::command::routes::{ConfiguredRoute, RouteRequest, change, list};
use hookbox_operations::render::{Text, json};

use crate::world::{Memory, Person};

const RESUME: RouteChange = RouteChange::Resume { why: None };

fn scores() -> RouteScope {
    RouteScope::One("scores".parse().unwrap())
}

fn pause() -> RouteChange {
    RouteChange::Pause {
        why: "the bank is \u{1b}[31mdown".into(),
    }
}

fn limit(rate: &str, concurrency: u32) -> RouteChange {
    RouteChange::Limit {
        why: None,
        rate: LimitChange::Set(rate.parse().unwrap()),
        concurrency: LimitChange::Set(concurrency.try_into().unwrap()),
    }
}

fn request(scope: RouteScope, change: RouteChange) -> RouteRequest {
    RouteRequest {
        scope,
        change,
        dry_run: false,
        yes: true,
        by: "ann".into(),
    }
}

/// Makes a change without asking for confirmation. Returns the text of the report, and whether the
/// command succeeds.
async fn made(memory: &Memory, scope: RouteScope, what: RouteChange) -> (String, bool) {
    let request = request(scope, what);
    let report = change(memory, &request, &mut Person::default()).await;
    let report = report.unwrap();
    (report.text(), report.is_ok())
}

async fn listed(memory: &Memory) -> hookbox_operations::command::routes::RoutesReport {
    let configured = [("scores", 4), ("all", 1)].map(|(name, concurrency)| ConfiguredRoute {
        name: name.parse().unwrap(),
        concurrency,
    });
    list(memory, &configured).await.unwrap()
}

#[tokio::test]
async fn routes_are_listed_with_what_is_set() {
    let memory = Memory::default();
    made(&memory, scores(), pause()).await;
    made(&memory, scores(), limit("0.5/s", 9)).await;
    let removed = RouteScope::One("removed".parse().unwrap());
    made(&memory, removed, limit("5/s", 2)).await;
    let report = listed(&memory).await;
    expect![[r#"
        store: 3 routes
        ROUTE    STATE              RATE PER WORKER  CONCURRENCY PER WORKER
        scores   paused                       0.5/s                       4
        all      running                          -                       1
        removed  not in the config              5/s                       2
        PAUSED: route scores is paused by ann since 2026-09-21T14:13:20Z: the bank is \u{1b}[31mdown; its events wait until `hookbox routes resume scores`
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "routes": [
            {
              "route": "scores",
              "configured": true,
              "paused": {
                "all_routes": false,
                "by": "ann",
                "why": "the bank is \u001b[31mdown",
                "since": "2026-09-21T14:13:20Z"
              },
              "missing_right": 0,
              "target_fault": 0,
              "rate_per_worker": 0.5,
              "concurrency_per_worker": 4,
              "concurrency_configured": 4
            },
            {
              "route": "all",
              "configured": true,
              "paused": null,
              "missing_right": 0,
              "target_fault": 0,
              "rate_per_worker": null,
              "concurrency_per_worker": 1,
              "concurrency_configured": 1
            },
            {
              "route": "removed",
              "configured": false,
              "paused": null,
              "missing_right": 0,
              "target_fault": 0,
              "rate_per_worker": 5.0,
              "concurrency_per_worker": 2,
              "concurrency_configured": null
            }
          ],
          "targets_in_trouble": []
        }
    "#]]
    .assert_eq(&json(&report));
}

/// A route whose events wait for a right or for their target must be listed as `deferring`.
#[tokio::test]
async fn a_route_that_defers_its_events_is_not_shown_as_running() {
    let waits = |route: &str, missing_right, target_fault| Backlog {
        route: route.parse().unwrap(),
        retrying: 4,
        due: 0,
        deferred: 4,
        deferred_oldest_s: 60,
        missing_right,
        target_fault,
        dead: 0,
    };
    let listed = async |waits: &[Backlog]| {
        let memory = Memory {
            backlog: waits.to_vec(),
            ..Memory::default()
        };
        listed(&memory).await
    };
    let report = listed(&[waits("all", 0, 1), waits("scores", 3, 0)]).await;
    expect![[r#"
        store: 2 routes
        ROUTE   STATE      RATE PER WORKER  CONCURRENCY PER WORKER
        scores  deferring                -                       4
        all     deferring                -                       1
        DEFERRING: route scores: 3 events wait for a right or an object of the database: see `/readyz` or the log of the workers
        DEFERRING: route all: 1 event waits for a target that was not reached: see `hookbox targets list`
    "#]].assert_eq(&report.text());
    let line = &report.routes[0];
    assert_eq!((line.missing_right, line.target_fault), (3, 0));
    // Events that wait for a lock, or after a failed attempt, do not mean that the whole route has
    // a problem.
    let report = listed(&[waits("scores", 0, 0)]).await;
    assert!(!report.text().contains("DEFERRING"), "{}", report.text());
    assert!(report.text().contains("running"), "{}", report.text());
}

#[tokio::test]
async fn a_change_is_asked_about_and_audited() {
    let memory = Memory::default();
    let mut person = Person {
        answer: Some(false),
        ..Person::default()
    };
    for (scope, what) in [
        (scores(), pause()),
        (scores(), limit("5/s", 2)),
        (scores(), RESUME),
        (RouteScope::All, pause()),
    ] {
        let request = RouteRequest {
            yes: false,
            ..request(scope, what)
        };
        let declined = change(&memory, &request, &mut person).await;
        assert!(
            matches!(declined, Err(CommandError::Declined)),
            "{declined:?}"
        );
        let request = RouteRequest {
            yes: true,
            ..request
        };
        change(&memory, &request, &mut person).await.unwrap();
    }
    expect![[r#"
        This will pause route scores (the bank is \u{1b}[31mdown): workers finish the events that run, and take and retry no others until `hookbox routes resume`. Continue?
        This will set the limits of route scores: rate 5/s for each worker, concurrency 2 for each worker. Workers first finish the events that run now. After that, the new limits apply. Continue?
        This will resume route scores, paused by ann since 2026-09-21T14:13:20Z (the bank is \u{1b}[31mdown): workers process what has waited. Continue?
        This will pause all routes (the bank is \u{1b}[31mdown): workers finish the events that run, and take and retry no others until `hookbox routes resume`. Continue?
    "#]].assert_eq(&(person.asked.join("\n") + "\n"));
    let audits = memory.audits.lock().unwrap().clone();
    expect![[r#"
        [
            (
                "ann",
                "routes.pause",
                "route scores: the bank is \u{1b}[31mdown",
            ),
            (
                "ann",
                "routes.set",
                "route scores: rate 5/s for each worker, concurrency 2 for each worker",
            ),
            (
                "ann",
                "routes.resume",
                "route scores",
            ),
            (
                "ann",
                "routes.pause",
                "all routes: the bank is \u{1b}[31mdown",
            ),
        ]
    "#]]
    .assert_eq(&format!("{audits:#?}\n"));
}

#[tokio::test]
async fn a_change_that_alters_nothing_is_not_asked_about() {
    let memory = Memory::default();
    made(&memory, scores(), pause()).await;
    let mut person = Person::default();
    let again = RouteRequest {
        yes: false,
        ..request(scores(), pause())
    };
    let report = change(&memory, &again, &mut person).await.unwrap();
    assert!(!report.changed && report.is_ok());
    assert!(person.asked.is_empty());
    expect![[r#"
        store: route scores is paused by ann since 2026-09-21T14:13:20Z: the bank is \u{1b}[31mdown; nothing was changed
    "#]].assert_eq(&report.text());
    let other = RouteScope::One("all".parse().unwrap());
    let (text, is_ok) = made(&memory, other, RESUME).await;
    assert!(is_ok);
    expect![[r#"
        store: route all has no pause of its own; nothing was changed
    "#]]
    .assert_eq(&text);
    assert_eq!(memory.audits.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let memory = Memory::default();
    let mut person = Person::default();
    let dry = RouteRequest {
        dry_run: true,
        yes: false,
        ..request(scores(), limit("5/s", 2))
    };
    let report = change(&memory, &dry, &mut person).await.unwrap();
    expect![[r#"
        store: would set the limits of route scores: rate 5/s for each worker, concurrency 2 for each worker; nothing was changed
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "change": "set",
          "route": "scores",
          "changed": true,
          "dry_run": true,
          "paused": null,
          "rate_per_worker": 5.0,
          "concurrency_per_worker": 2,
          "still_paused": []
        }
    "#]]
    .assert_eq(&json(&report));
    assert!(person.asked.is_empty());
    assert!(memory.controls.lock().unwrap().rows().is_empty());
}

/// A route that is resumed while all routes are paused stays paused, and the exit code of the
/// command reports this. A resume of all routes names the routes that have their own pause.
#[tokio::test]
async fn a_pause_of_all_routes_is_separate_from_a_pause_of_one() {
    let memory = Memory::default();
    made(&memory, scores(), pause()).await;
    made(&memory, RouteScope::All, pause()).await;
    let (text, is_ok) = made(&memory, scores(), RESUME).await;
    assert!(!is_ok);
    expect![[r#"
        store: resumed route scores; workers notice this within two seconds, and apply it when their running events are finished
        PAUSED: route scores is paused, as all routes, by ann since 2026-09-21T14:13:20Z: the bank is \u{1b}[31mdown; its events wait until `hookbox routes resume --all`
    "#]].assert_eq(&text);
    made(&memory, scores(), pause()).await;
    let (text, is_ok) = made(&memory, RouteScope::All, RESUME).await;
    assert!(is_ok);
    expect![[r#"
        store: resumed all routes; workers notice this within two seconds, and apply it when their running events are finished
          still paused by themselves: scores
    "#]].assert_eq(&text);
    let paused = listed(&memory).await.routes;
    let paused = paused.iter().map(|line| line.paused.is_some());
    assert_eq!(paused.collect::<Vec<_>>(), [true, false]);
}
