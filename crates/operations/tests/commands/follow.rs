//! Tests `events follow`.

use std::error::Error as _;
use std::time::Duration;

use expect_test::expect;
use hookbox_driver::{
    CursorRefusal, EndCursor, EndOutcome, EndRow, EndsPage, EndsRead, HeldBack, Holder, ReadEnd,
};
use hookbox_event::{EventNumber, Incarnation};
use hookbox_operations::CommandError;
use hookbox_operations::command::follow::{self, HeldBackNote};
use hookbox_operations::render::{Text, json_line};

use crate::world::{Memory, at, event_id};

const STORE: Incarnation = Incarnation::from_bytes([4; 16]);

/// Returns the two ends in the fake store: an event that is done, and an event that is dead.
pub fn ends(after: Option<&EndCursor>, limit: u32) -> EndsRead {
    if let Some(after) = after
        && after.incarnation != STORE
    {
        return EndsRead::Refused(CursorRefusal::OtherIncarnation {
            cursor: after.incarnation,
            store: STORE,
        });
    }
    let end = |(number, outcome): (u8, EndOutcome)| EndRow {
        cursor: EndCursor {
            incarnation: STORE,
            position: 700 + u64::from(number),
            event: EventNumber::from_i64(number.into()),
            route: "scores".parse().unwrap(),
            at: at(number.into()),
        },
        event: event_id(number),
        topic: "begini.ios_score.complete".parse().unwrap(),
        outcome,
        round: 1,
        attempts: number.into(),
    };
    let all = [(1, EndOutcome::Done), (2, EndOutcome::Dead)].map(end);
    let later = |row: &EndRow| after.is_none_or(|after| row.cursor.position > after.position);
    let read = all.into_iter().filter(later).map(ReadEnd::Chosen);
    EndsRead::Page(EndsPage::of(read.take(limit as usize), limit, limit))
}

pub fn held_back() -> HeldBack {
    HeldBack {
        age: Duration::from_secs(42),
        by: Some(Holder {
            process: Some(4711),
            database: "shop".to_owned(),
            name: "psql\u{1b}[2J".to_owned(),
        }),
    }
}

#[tokio::test]
async fn each_end_is_a_line_with_its_cursor() {
    let memory = Memory::default();
    let page = follow::page(&memory, None, None, 10).await.unwrap();
    assert!(!page.more);
    let text: String = page.ends.iter().map(Text::text).collect();
    expect![[r#"
        2026-09-21T14:13:21Z done scores 01010101010101010101010101010101 begini.ios_score.complete round 1 attempts 1 04040404-0404-0404-0404-040404040404.701.1.scores.1790000001000000.463a5c15
        2026-09-21T14:13:22Z dead scores 02020202020202020202020202020202 begini.ios_score.complete round 1 attempts 2 04040404-0404-0404-0404-040404040404.702.2.scores.1790000002000000.f020eaef
    "#]].assert_eq(&text);
    let json: String = page.ends.iter().map(json_line).collect();
    expect![[r#"
        {"cursor":"04040404-0404-0404-0404-040404040404.701.1.scores.1790000001000000.463a5c15","event":"01010101010101010101010101010101","event_number":1,"topic":"begini.ios_score.complete","route":"scores","outcome":"done","round":1,"attempts":1,"ended_at":"2026-09-21T14:13:21Z"}
        {"cursor":"04040404-0404-0404-0404-040404040404.702.2.scores.1790000002000000.f020eaef","event":"02020202020202020202020202020202","event_number":2,"topic":"begini.ios_score.complete","route":"scores","outcome":"dead","round":1,"attempts":2,"ended_at":"2026-09-21T14:13:22Z"}
    "#]].assert_eq(&json);
}

#[tokio::test]
async fn a_page_is_followed_by_the_next() {
    let memory = Memory::default();
    let (mut after, mut outcomes) = (None, Vec::new());
    loop {
        let page = follow::page(&memory, after.as_ref(), None, 1).await;
        let page = page.unwrap();
        outcomes.extend(page.ends.iter().map(|end| end.outcome));
        assert_eq!(page.more, page.next.is_some());
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(outcomes, ["done", "dead"]);
}

#[tokio::test]
async fn a_cursor_of_another_store_is_refused() {
    let memory = Memory::default();
    let other = EndCursor {
        incarnation: Incarnation::from_bytes([5; 16]),
        position: 701,
        event: EventNumber::from_i64(1),
        route: "scores".parse().unwrap(),
        at: at(1),
    };
    let refused = follow::page(&memory, Some(&other), None, 1).await;
    let error = refused.unwrap_err();
    assert!(
        matches!(error, CommandError::CursorRefused { .. }),
        "{error:?}"
    );
    let text = format!("{error}: {}", error.source().unwrap());
    expect![[r#"
        cannot continue after this cursor (start over without --after, and expect ends that were read before): the cursor is of incarnation 05050505-0505-0505-0505-050505050505, and this store is incarnation 04040404-0404-0404-0404-040404040404: the store was restored, or it is another store"#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn what_holds_ends_back_is_shown_without_control_characters() {
    let memory = Memory::default();
    let held = follow::held_back(&memory).await.unwrap().unwrap();
    let note = HeldBackNote::from(&held);
    expect![[r#"
        committed ends are held back for 42 s by the transaction of process 4711 ("psql\u{1b}[2J") in database "shop"
    "#]].assert_eq(&note.text());
    expect![[r#"
        {"held_back_seconds":42,"process":4711,"database":"shop","name":"psql\u001b[2J"}
    "#]]
    .assert_eq(&json_line(&note));
}
