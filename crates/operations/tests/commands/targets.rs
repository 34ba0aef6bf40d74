//! Tests `targets list`, and how leased events are shown.

use expect_test::expect;
use hookbox_driver::{BreakerState, RetryFilter, TargetError, TargetRow};
use hookbox_operations::command::{events, retries, routes, targets};
use hookbox_operations::render::{Text, json};

use crate::world::{Memory, at};

#[tokio::test]
async fn targets_are_listed_with_breaker_and_calls() {
    let report = targets::list(&Memory::default()).await.unwrap();
    expect![[r#"
        store: no targets of external calls
    "#]]
    .assert_eq(&report.text());
    let row = |name: &str, breaker, until: Option<i64>| TargetRow {
        target: name.parse().unwrap(),
        breaker,
        blocked_until: until.map(at),
        in_flight: 3,
        faults: if breaker == BreakerState::Closed {
            0
        } else {
            5
        },
        last_error: until.map(|_| TargetError {
            error: "connection\u{1b} refused".to_owned(),
            at: at(3),
        }),
    };
    let memory = Memory {
        targets: vec![
            // Calls reach this target again, so its error must not be shown.
            TargetRow {
                blocked_until: None,
                ..row("https://a.example:443", BreakerState::Closed, Some(1))
            },
            row("https://b.example:443", BreakerState::Open, Some(9)),
            row("https://c.example:443", BreakerState::HalfOpen, None),
        ],
        ..Memory::default()
    };
    let report = routes::list(&memory, &[]).await.unwrap();
    expect![[r#"
        store: 0 routes
        ROUTE  STATE  RATE PER WORKER  CONCURRENCY PER WORKER
        target https://b.example:443 is not reached, or asked for a pause: see `hookbox targets list`
        target https://c.example:443 is not reached, or asked for a pause: see `hookbox targets list`
    "#]].assert_eq(&report.text());
    let report = targets::list(&memory).await.unwrap();
    expect![[r#"
        store: 3 targets
        TARGET                 BREAKER    NO CALLS UNTIL        IN FLIGHT  FAULTS
        https://a.example:443  closed     -                             3       0
        https://b.example:443  open       2026-09-21T14:13:29Z          3       5
        https://c.example:443  half-open  -                             3       5
        https://b.example:443 at 2026-09-21T14:13:23Z: connection\u{1b} refused
    "#]]
    .assert_eq(&report.text());
    let memory = Memory {
        targets: memory.targets[1..2].to_vec(),
        ..Memory::default()
    };
    let report = targets::list(&memory).await.unwrap();
    expect![[r#"
        {
          "source": "store",
          "targets": [
            {
              "target": "https://b.example:443",
              "breaker": "open",
              "blocked_until": "2026-09-21T14:13:29Z",
              "in_flight": 3,
              "faults": 5,
              "last_error": "connection\u001b refused",
              "last_error_at": "2026-09-21T14:13:23Z"
            }
          ]
        }
    "#]]
    .assert_eq(&json(&report));
}

#[tokio::test]
async fn a_leased_event_is_shown_as_leased() {
    let memory = Memory {
        leased: true,
        ..Memory::default()
    };
    let all = RetryFilter::default();
    let report = retries::list(&memory, &all, None, 20).await.unwrap();
    assert_eq!(report.retries[1].deferred.as_deref(), Some("leased"));
    let text = report.text();
    let line = text.lines().nth(3).unwrap();
    assert!(line.contains("  leased  "), "{line}");
    let shown = events::show(&memory, "abab", None).await.unwrap();
    assert_eq!(shown.history.claims[0].epoch, Some(7));
    assert_eq!(
        shown.history.retries[0].target.as_deref(),
        Some("https://example.com")
    );
    expect![[r#"
        store: event abababababababababababababababab
          topic     begini.ios_score.complete
          received  2026-09-21T14:13:20Z
          digest    0707070707070707070707070707070707070707070707070707070707070707
          body      18 bytes
        claims
          ROUTE   STATE     ATTEMPTS  CLAIMED               SETTLED               EPOCH
          scores  retrying         1  2026-09-21T14:13:21Z  2026-09-21T14:13:22Z      7
        receipts
          RECEIPT                               ROUTE   OUTCOME   KEY      RECEIVED              SETTLED
          01010101-0101-0101-0101-010101010101  scores  retrying  2026-11  2026-09-21T14:13:20Z  2026-09-21T14:13:22Z
        attempts
          1 on scores: transient after 12 ms, at 2026-09-21T14:13:22Z
              insert the score: \u{1b}no
        retries
          ROUTE   ATTEMPT  NOT BEFORE            QUEUED  DEFERRED  SINCE                 TARGET
          scores        2  2026-09-21T14:14:20Z  -       leased    2026-09-21T14:13:40Z  https://example.com
    "#]].assert_eq(&shown.text());
}
