//! Tests `refusals …`, `retries …` and `audit list`, and what a mistyped name leads to.

use expect_test::expect;
use hookbox_driver::{AuditFilter, Name, Names, RefusalFilter, RetryFilter};
use hookbox_operations::command::retries::HurryRequest;
use hookbox_operations::command::{audit, names, refusals, retries};
use hookbox_operations::render::{Text, json};
use hookbox_operations::{CommandError, Problem};

use crate::early::early;
use crate::world::{Memory, Person, event_id, sentences};

#[tokio::test]
async fn refusals_are_listed_and_grouped() {
    let memory = Memory::default();
    let all = RefusalFilter::default();
    let report = refusals::list(&memory, &all, None, 2).await.unwrap();
    expect![[r#"
        store: 2 refusals, newest first
        REQUEST                               REFUSED               SOURCE  REASON         FROM       BYTES
        03030303-0303-0303-0303-030303030303  2026-09-21T14:13:23Z  begini  bad_signature  192.0.2.7    300
        02020202-0202-0202-0202-020202020202  2026-09-21T14:13:22Z  begini  bad_signature  192.0.2.7    200
        next: --after 1790000002000000.02020202-0202-0202-0202-020202020202
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "refusals": [
            {
              "request": "03030303-0303-0303-0303-030303030303",
              "at": "2026-09-21T14:13:23Z",
              "source": "begini",
              "reason": "bad_signature",
              "peer": "192.0.2.7",
              "body_bytes": 300,
              "body_digest": "0000000000000000000000000000000000000000000000000000000000000000"
            },
            {
              "request": "02020202-0202-0202-0202-020202020202",
              "at": "2026-09-21T14:13:22Z",
              "source": "begini",
              "reason": "bad_signature",
              "peer": "192.0.2.7",
              "body_bytes": 200,
              "body_digest": null
            }
          ],
          "next": "1790000002000000.02020202-0202-0202-0202-020202020202"
        }
    "#]]
    .assert_eq(&json(&report));
    let after = report.next.map(|next| next.parse().unwrap());
    let report = refusals::list(&memory, &all, after.as_ref(), 2)
        .await
        .unwrap();
    assert_eq!((report.refusals.len(), report.next), (1, None));
    let report = refusals::groups(&memory, &all).await.unwrap();
    expect![[r#"
        store: 3 refusals in 1 group
        COUNT  SOURCE          REASON         ADDRESSES  FIRST                 LAST
            3  begini\u{202e}  bad_signature          1  2026-09-21T14:13:21Z  2026-09-21T14:13:23Z
    "#]]
    .assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "groups": [
            {
              "count": 3,
              "source": "begini\u202e",
              "reason": "bad_signature",
              "peers": 1,
              "first_at": "2026-09-21T14:13:21Z",
              "last_at": "2026-09-21T14:13:23Z"
            }
          ]
        }
    "#]]
    .assert_eq(&json(&report));
}

#[tokio::test]
async fn retries_are_listed_with_error_and_time() {
    let memory = Memory::default();
    let all = RetryFilter::default();
    let report = retries::list(&memory, &all, None, 20).await.unwrap();
    assert_eq!(report.next, None);
    expect![[r#"
        store: 3 retries, next due first
        EVENT         ROUTE   TOPIC                        ATTEMPT  DUE                   STATE                   ERROR
        010101010101  scores  begini.application.complete        1  2026-09-21T14:13:21Z  queued                  -
        020202020202  scores  begini.application.complete        2  2026-09-21T14:13:22Z  deferred: foreign_lock  -
        030303030303  scores  begini.application.complete        3  2026-09-21T14:13:23Z  waiting                 the partner said \u{9b}31mno
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "retries": [
            {
              "event": "01010101010101010101010101010101",
              "route": "scores",
              "topic": "begini.application.complete",
              "attempt": 1,
              "not_before": "2026-09-21T14:13:21Z",
              "queued_at": "2026-09-21T14:13:22Z",
              "deferred": null,
              "deferred_since": null,
              "error": null
            },
            {
              "event": "02020202020202020202020202020202",
              "route": "scores",
              "topic": "begini.application.complete",
              "attempt": 2,
              "not_before": "2026-09-21T14:13:22Z",
              "queued_at": null,
              "deferred": "foreign_lock",
              "deferred_since": "2026-09-21T14:13:20Z",
              "error": null
            },
            {
              "event": "03030303030303030303030303030303",
              "route": "scores",
              "topic": "begini.application.complete",
              "attempt": 3,
              "not_before": "2026-09-21T14:13:23Z",
              "queued_at": null,
              "deferred": null,
              "deferred_since": null,
              "error": "the partner said \u009b31mno"
            }
          ],
          "next": null
        }
    "#]]
    .assert_eq(&json(&report));
    let report = retries::list(&memory, &all, None, 2).await.unwrap();
    let after = report.next.map(|next| next.parse().unwrap());
    let report = retries::list(&memory, &all, after.as_ref(), 2)
        .await
        .unwrap();
    assert_eq!(report.retries[0].attempt, 3);
}

fn request() -> HurryRequest {
    HurryRequest {
        filter: RetryFilter::default(),
        all: true,
        dry_run: false,
        yes: false,
        by: "ada".into(),
    }
}

#[tokio::test]
async fn a_hurry_shows_its_effect_and_asks() {
    let memory = Memory {
        early: early(1_203),
        ..Memory::default()
    };
    let mut person = Person::default();
    let unasked = retries::hurry(&memory, &request(), &mut person)
        .await
        .unwrap_err();
    expect![[r#"
        nothing was changed.
        This would make 1203 retries due now (all):
        each counts as the next attempt of its event.
        Give --yes to skip this question, or --dry-run to see the effect
    "#]]
    .assert_eq(&sentences(&unasked));
    let one = HurryRequest {
        filter: RetryFilter {
            events: vec![event_id(1)],
            route: Some("scores".parse().unwrap()),
            ..RetryFilter::default()
        },
        all: false,
        dry_run: true,
        ..request()
    };
    let report = retries::hurry(&memory, &one, &mut person).await.unwrap();
    expect![[r#"
        store: would make 1203 retries due now (event 01010101010101010101010101010101, route scores); nothing was changed
    "#]].assert_eq(&report.text());
    let nothing = HurryRequest {
        all: false,
        ..request()
    };
    let refused = retries::hurry(&memory, &nothing, &mut person)
        .await
        .unwrap_err();
    assert!(matches!(refused, CommandError::NoRetriesSelected));
    assert!(memory.audits.lock().unwrap().is_empty());

    person.answer = Some(true);
    let report = retries::hurry(&memory, &request(), &mut person)
        .await
        .unwrap();
    expect![[r#"
        store: made 1203 of 1203 retries due now (all)
    "#]]
    .assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "filter": "all",
          "matched": 1203,
          "hurried": 1203,
          "dry_run": false,
          "interrupted": false,
          "problems": []
        }
    "#]]
    .assert_eq(&json(&report));
    assert_eq!(
        memory.audits.lock().unwrap().len(),
        3,
        "1203 retries must be changed in three transactions of at most 500"
    );
    expect![[r#"
        This will make 1203 retries due now (all): each counts as the next attempt of its event. Continue?
        This will make 1203 retries due now (all): each counts as the next attempt of its event. Continue?"#]].assert_eq(&person.asked.join("\n"));
}

#[tokio::test]
async fn a_hurry_makes_each_retry_due_once_though_its_attempt_fails_at_once() {
    let memory = Memory {
        early: early(1_203),
        fails_at_once: true,
        ..Memory::default()
    };
    let mut person = Person {
        answer: Some(true),
        ..Person::default()
    };
    let report = retries::hurry(&memory, &request(), &mut person)
        .await
        .unwrap();
    assert_eq!((report.matched, report.hurried), (1_203, 1_203));
    let early = memory.early.lock().unwrap();
    assert!(early.iter().all(|row| row.attempt == 3), "{early:?}");
}

#[tokio::test]
async fn an_interrupted_hurry_keeps_what_it_has_done() {
    let memory = Memory {
        early: early(900),
        ..Memory::default()
    };
    let mut person = Person {
        answer: Some(true),
        interrupts_after: Some(1),
        ..Person::default()
    };
    let report = retries::hurry(&memory, &request(), &mut person)
        .await
        .unwrap();
    assert_eq!((report.hurried, report.interrupted), (500, true));
    let unavailable = Memory {
        early: early(1),
        audit_is_unavailable: true,
        ..Memory::default()
    };
    let mut person = Person {
        answer: Some(true),
        ..Person::default()
    };
    let report = retries::hurry(&unavailable, &request(), &mut person)
        .await
        .unwrap();
    let [Problem { what, .. }] = &report.problems[..] else {
        panic!("the report must list exactly one problem: {report:?}")
    };
    assert!(what.contains("connection refused"), "{what}");
}

#[tokio::test]
async fn the_audit_is_listed_newest_first() {
    let row = |actor: &str, action: &str| (actor.into(), action.into(), "event \u{9b}1".into());
    let memory = Memory {
        audits: vec![
            row("ada", "dead.replay"),
            row("bob", "event.body"),
            row("ada", "x"),
        ]
        .into(),
        ..Memory::default()
    };
    let filter = AuditFilter {
        actor: Some("ada".into()),
        ..AuditFilter::default()
    };
    let report = audit::list(&memory, &filter, None, 1).await.unwrap();
    expect![[r#"
        store: 1 row of the audit, newest first
        ID  AT                    WHO  ACTION  SUBJECT
         3  2026-09-21T14:13:23Z  ada  x       event \u{9b}1
        next: --after 3
    "#]]
    .assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "audit": [
            {
              "id": 3,
              "at": "2026-09-21T14:13:23Z",
              "actor": "ada",
              "action": "x",
              "subject": "event \u009b1"
            }
          ],
          "next": 3
        }
    "#]]
    .assert_eq(&json(&report));
    let report = audit::list(&memory, &filter, report.next, 1).await.unwrap();
    assert_eq!((report.audit[0].id, report.next), (1, None));
}

#[tokio::test]
async fn an_unknown_name_is_refused_with_the_known_ones() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let memory = Memory {
        names: Names {
            routes: names(&["gone", "scores"]),
            ..Names::default()
        },
        ..Memory::default()
    };
    let configured = Names {
        routes: names(&["scores", "unrouted"]),
        ..Names::default()
    };
    for known in ["gone", "scores", "unrouted"] {
        let route = known.parse().unwrap();
        names::check(&memory, &configured, &[Name::Route(&route)])
            .await
            .unwrap();
    }
    let (route, topic) = ("score".parse().unwrap(), "a.b".parse().unwrap());
    let given = [Name::Route(&route), Name::Topic(&topic)];
    for name in given {
        let refused = names::check(&memory, &configured, &[name])
            .await
            .unwrap_err();
        assert!(matches!(refused, CommandError::UnknownName { .. }));
        let text = refused.to_string();
        let known = match name {
            Name::Route(_) => "gone, scores, unrouted",
            Name::Topic(_) | Name::Source(_) => "none",
        };
        assert!(text.ends_with(&format!("the store know {known}")), "{text}");
    }
    // With 42 known names, the error must list only the first 30 of them.
    let many = Names {
        routes: (0..40).map(|number| format!("route-{number}")).collect(),
        ..Names::default()
    };
    let refused = names::check(&memory, &many, &[Name::Route(&route)])
        .await
        .unwrap_err();
    assert!(refused.to_string().ends_with(" and 12 more"), "{refused}");
}
