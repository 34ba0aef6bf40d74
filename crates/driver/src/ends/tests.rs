//! Tests cursors as text, and pages that are made of the ends that a store has read.

use super::*;

fn cursor(position: u64, route: &str) -> EndCursor {
    EndCursor {
        incarnation: Incarnation::from_bytes([0xa7; 16]),
        position,
        event: EventNumber::from_i64(7),
        route: route.parse().expect("the route name must be valid"),
        at: Timestamp::from_unix_micros(1_790_000_000_123_456),
    }
}

fn row(position: u64, route: &str) -> EndRow {
    EndRow {
        cursor: cursor(position, route),
        event: EventId::from_bytes([1; 16]),
        topic: "a.b".parse().expect("the topic must be valid"),
        outcome: EndOutcome::Done,
        round: 1,
        attempts: 1,
    }
}

#[test]
fn a_cursor_is_written_and_read_again() {
    for position in [0, 1, u64::MAX] {
        let cursor = cursor(position, "a-b_c");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
}

#[test]
fn a_changed_or_cut_cursor_is_refused() {
    let text = cursor(123, "scores").to_string();
    let other_event = text.replace(".7.", ".8.");
    let other_route = text.replace("scores", "score");
    let upper_case = text.to_ascii_uppercase();
    for wrong in [
        "",
        ".....",
        "1.2.3.4.5.6",
        &other_event,
        &other_route,
        &upper_case,
    ] {
        assert_eq!(wrong.parse::<EndCursor>(), Err(InvalidEndCursor), "{wrong}");
    }
    for end in 0..text.len() {
        let cut = &text[..end];
        assert_eq!(cut.parse::<EndCursor>(), Err(InvalidEndCursor), "{cut}");
    }
    let with_zero = text.replace(".123.", ".0123.");
    assert_eq!(with_zero.parse::<EndCursor>(), Err(InvalidEndCursor));
}

#[test]
fn a_cursor_continues_only_where_its_end_is() {
    let cursor = cursor(1, "a");
    let (store, at) = (cursor.incarnation, cursor.at);
    let other = Incarnation::from_bytes([9; 16]);
    let later = at.saturating_add(Duration::from_micros(1));
    assert_eq!(cursor.refused_by(store, Some(at)), None);
    for found in [None, Some(later)] {
        assert_eq!(cursor.refused_by(store, found), Some(CursorRefusal::Gone));
    }
    assert_eq!(
        cursor.refused_by(other, Some(at)),
        Some(CursorRefusal::OtherIncarnation {
            cursor: store,
            store: other
        })
    );
}

#[test]
fn a_page_ends_with_the_last_end_that_was_read() {
    let read = |routes: &[&str]| -> Vec<ReadEnd> {
        let numbered = routes.iter().zip(1..);
        let end = |(route, position): (&&str, u64)| match *route {
            "a" => ReadEnd::Chosen(row(position, "a")),
            other => ReadEnd::Other(cursor(position, other)),
        };
        numbered.map(end).collect()
    };
    for (routes, to_read, limit, expect) in [
        (&[][..], 9, 2, (0, None, false)),
        (&["a"], 9, 2, (1, Some(1), false)),
        (&["a", "a"], 2, 2, (2, Some(2), true)),
        (&["a", "b", "b"], 9, 2, (1, Some(3), false)),
        (&["b", "b", "b"], 3, 2, (0, Some(3), true)),
        (&["a", "b", "a", "b", "a"], 9, 2, (2, Some(3), true)),
    ] {
        let page = EndsPage::of(read(routes), to_read, limit);
        let next = page.next.map(|next| next.position);
        assert_eq!((page.rows.len(), next, page.more), expect, "{routes:?}");
    }
    let route = "a".parse().expect("the route name must be valid");
    assert_eq!(EndsPage::to_read(None, 20), 20);
    assert_eq!(EndsPage::to_read(Some(&route), 20), READ_MAX);
    assert_eq!(EndsPage::to_read(Some(&route), 5_000), 5_000);
}

#[test]
fn each_stored_text_is_read_as_the_outcome_that_wrote_it() {
    for outcome in EndOutcome::ALL {
        assert_eq!(EndOutcome::parse(outcome.as_str()), Some(outcome));
    }
    assert_eq!(EndOutcome::parse("retrying"), None);
    assert_eq!((round_after(0), round_after(u32::MAX)), (1, u32::MAX));
}
