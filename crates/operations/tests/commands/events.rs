//! Tests `events list` and `events show`.

use expect_test::expect;
use hookbox_driver::{EventCursor, EventFilter};
use hookbox_operations::CommandError;
use hookbox_operations::command::events;
use hookbox_operations::render::{Text, json};

use crate::world::{Memory, event_id, sentences};

#[tokio::test]
async fn a_list_names_its_source() {
    let memory = Memory::default();
    let report = events::list(&memory, &EventFilter::default(), None, 2)
        .await
        .unwrap();
    expect![[r#"
        store: 2 events, newest first
        EVENT         ROUTE   TOPIC                        STATE  ATTEMPTS  RECEIVED              SETTLED
        030303030303  scores  begini.application.complete  done          1  2026-09-21T14:13:23Z  2026-09-21T14:13:24Z
        020202020202  scores  begini.application.complete  done          1  2026-09-21T14:13:22Z  -
        next: --after 1790000002000000.02020202020202020202020202020202.scores
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "events": [
            {
              "event": "03030303030303030303030303030303",
              "topic": "begini.application.complete",
              "route": "scores",
              "state": "done",
              "attempts": 1,
              "received_at": "2026-09-21T14:13:23Z",
              "settled_at": "2026-09-21T14:13:24Z"
            },
            {
              "event": "02020202020202020202020202020202",
              "topic": "begini.application.complete",
              "route": "scores",
              "state": "done",
              "attempts": 1,
              "received_at": "2026-09-21T14:13:22Z",
              "settled_at": null
            }
          ],
          "more": true,
          "next": "1790000002000000.02020202020202020202020202020202.scores"
        }
    "#]]
    .assert_eq(&json(&report));
}

#[tokio::test]
async fn a_page_is_followed_by_the_next_until_there_is_none() {
    let memory = Memory::default();
    let (mut after, mut listed): (Option<EventCursor>, Vec<String>) = (None, Vec::new());
    loop {
        let page = events::list(&memory, &EventFilter::default(), after.as_ref(), 1).await;
        let page = page.unwrap();
        assert_eq!(page.more, page.next.is_some());
        listed.extend(page.events.into_iter().map(|event| event.event));
        match page.next {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    let all = [3, 2, 1].map(|number| event_id(number).to_string());
    assert_eq!(listed, all);
}

/// JSON may be shown on a terminal as well, so control characters in a body must be escaped.
#[tokio::test]
async fn a_body_does_not_control_the_terminal_in_json() {
    let body = "{\"a\":\"\u{9b}31m\u{85}\u{202e}\u{7f}\u{2066}\"}";
    let memory = Memory {
        body: Some(body.into()),
        ..Memory::default()
    };
    let report = events::show(&memory, "abab", Some("ada")).await.unwrap();
    let json = json(&report);
    let is_obeyed = |c: char| c != '\n' && hookbox_operations::render::terminal::is_unsafe(c);
    assert!(!json.contains(is_obeyed), "{json}");
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        read["body"]["body"], body,
        "the escaped JSON must parse to the same body"
    );
}

#[tokio::test]
async fn an_event_is_shown_with_its_history_and_without_its_body() {
    let memory = Memory::default();
    let report = events::show(&memory, "ABAB", None).await.unwrap();
    expect![[r#"
        store: event abababababababababababababababab
          topic     begini.ios_score.complete
          received  2026-09-21T14:13:20Z
          digest    0707070707070707070707070707070707070707070707070707070707070707
          body      18 bytes
        claims
          ROUTE   STATE     ATTEMPTS  CLAIMED               SETTLED
          scores  retrying         1  2026-09-21T14:13:21Z  2026-09-21T14:13:22Z
        receipts
          RECEIPT                               ROUTE   OUTCOME   KEY      RECEIVED              SETTLED
          01010101-0101-0101-0101-010101010101  scores  retrying  2026-11  2026-09-21T14:13:20Z  2026-09-21T14:13:22Z
        attempts
          1 on scores: transient after 12 ms, at 2026-09-21T14:13:22Z
              insert the score: \u{1b}no
        retries
          ROUTE   ATTEMPT  NOT BEFORE            QUEUED  DEFERRED      SINCE
          scores        2  2026-09-21T14:14:20Z  -       foreign_lock  2026-09-21T14:13:40Z
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "source": "store",
          "receipt": null,
          "event": "abababababababababababababababab",
          "topic": "begini.ios_score.complete",
          "digest": "0707070707070707070707070707070707070707070707070707070707070707",
          "body_bytes": 18,
          "sealed_with": null,
          "received_at": "2026-09-21T14:13:20Z",
          "claims": [
            {
              "route": "scores",
              "state": "retrying",
              "attempts": 1,
              "claimed_at": "2026-09-21T14:13:21Z",
              "settled_at": "2026-09-21T14:13:22Z",
              "epoch": null
            }
          ],
          "receipts": [
            {
              "receipt": "01010101-0101-0101-0101-010101010101",
              "route": "scores",
              "outcome": "retrying",
              "key_id": "2026-11",
              "instance": "02020202-0202-0202-0202-020202020202",
              "number": 42,
              "other_digest": null,
              "received_at": "2026-09-21T14:13:20Z",
              "settled_at": "2026-09-21T14:13:22Z"
            }
          ],
          "attempts": [
            {
              "route": "scores",
              "attempt": 1,
              "outcome": "transient",
              "error": "insert the score: \u001bno",
              "took_ms": 12,
              "at": "2026-09-21T14:13:22Z"
            }
          ],
          "retries": [
            {
              "route": "scores",
              "attempt": 2,
              "not_before": "2026-09-21T14:14:20Z",
              "queued_at": null,
              "deferred": "foreign_lock",
              "deferred_since": "2026-09-21T14:13:40Z",
              "target": null
            }
          ]
        }
    "#]]
    .assert_eq(&json(&report));
    assert!(memory.audits.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_is_shown_only_after_its_audit_row_is_written() {
    let mut memory = Memory::default();
    let report = events::show(&memory, "abab", Some("ada")).await.unwrap();
    assert!(report.text().ends_with("body\n  {\"uid\":\"CANARY-1\"}\n"));
    assert!(json(&report).contains(r#""encoding": "text""#));
    let audits = memory.audits.lock().unwrap().clone();
    assert_eq!(audits.len(), 1);
    assert_eq!(
        (audits[0].0.as_str(), audits[0].1.as_str()),
        ("ada", "event.body")
    );

    memory.audit_is_unavailable = true;
    let refused = events::show(&memory, "abab", Some("ada"))
        .await
        .unwrap_err();
    assert!(matches!(refused, CommandError::Failed { .. }));
}

#[tokio::test]
async fn a_body_does_not_control_the_terminal() {
    let mut memory = Memory {
        body: Some("{\"a\":\"\u{1b}]0;x\u{7}\",\r\n\t\"b\":1}".into()),
        ..Memory::default()
    };
    let report = events::show(&memory, "abab", Some("ada")).await.unwrap();
    let text = report.text();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    memory.body = Some("a\u{202e}b".into());
    let report = events::show(&memory, "abab", Some("ada")).await.unwrap();
    assert!(report.text().ends_with("body\n  a\\u{202e}b\n"));
    memory.body = Some(b"\xff\x00"[..].into());
    let report = events::show(&memory, "abab", Some("ada")).await.unwrap();
    assert!(
        report
            .text()
            .ends_with("body (base64, as it is not text)\n  /wA=\n")
    );
}

#[tokio::test]
async fn a_prefix_without_an_event_and_an_invalid_prefix_are_different_errors() {
    let memory = Memory::default();
    for bad in ["", "abc", "wxyz", &"a".repeat(65)] {
        let refused = events::show(&memory, bad, None).await.unwrap_err();
        assert!(matches!(refused, CommandError::NotAPrefix { .. }), "{bad}");
    }
    let refused = events::show(&memory, "abcd", None).await.unwrap_err();
    expect![[r#"
        no event, or more than one, has an id that begins with abcd:
        find the event with `hookbox events list`, or give more digits
    "#]]
    .assert_eq(&sentences(&refused));
}
