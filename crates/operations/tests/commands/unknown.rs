//! Tests that `reconcile` lists what it cannot know, and that its verdict claims no more than
//! `reconcile` knows.

use hookbox_driver::{AccountGap, SilentIngest, Unvouched};
use hookbox_operations::command::reconcile::{ReconcileReport, Unknown, Verdict};
use hookbox_operations::render::Text;

use crate::missing::{INSTANCE, LATE, memory, queues, report};
use crate::world::Memory;

/// Returns a fake store in which ninety receipts were reported and are done, and nothing waits for
/// a retry.
fn at_rest() -> Memory {
    let memory = memory(90, 90, Vec::new());
    memory.books.lock().unwrap()[0][0].retrying = 0;
    memory
}

async fn with_a_gap(seconds: u64, in_flight: Option<u64>) -> ReconcileReport {
    let mut memory = at_rest();
    memory.accounts.gaps = vec![AccountGap {
        instance: INSTANCE,
        first: 7,
        last: 9,
        seconds,
    }];
    report(memory, queues(0, in_flight), None).await
}

/// A sequence gap that an accept report may still fill must be listed as unknown, and the verdict
/// must not say that every receipt has its outcome.
#[tokio::test]
async fn a_young_gap_is_named_and_nothing_is_called_balanced() {
    let young = with_a_gap(5, None).await;
    let text = young.text();
    assert_eq!(young.verdict, Verdict::Moving, "{text}");
    assert!(
        young.is_ok(),
        "without `--wait`, a gap of a few seconds must not make the command fail: {text}"
    );
    let named = format!(
        "UNKNOWN: ingest {INSTANCE} has not reported the numbers 7 to 9, though it reported later \
         ones 5 s ago:"
    );
    assert!(text.contains(&named), "{text}");
    assert!(!text.contains("every receipt"), "{text}");
    assert!(matches!(young.unknown[..], [Unknown::YoungGap(_)]));
    let old = with_a_gap(LATE, None).await;
    assert_eq!((old.verdict, old.unknown), (Verdict::Imbalanced, vec![]));
    let sure = with_a_gap(5, Some(0)).await;
    assert_eq!((sure.verdict, sure.unknown), (Verdict::Imbalanced, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_wait_decides_a_young_gap() {
    let mut memory = at_rest();
    memory.accounts.gaps = vec![AccountGap {
        instance: INSTANCE,
        first: 7,
        last: 9,
        seconds: 5,
    }];
    let waited = report(memory, queues(0, None), Some(30)).await;
    assert_eq!(waited.verdict, Verdict::Imbalanced);
    assert!(waited.text().contains("UNREPORTED: "), "{}", waited.text());
}

async fn balanced(memory: Memory) -> (String, Vec<Unknown>) {
    let report = report(memory, queues(0, Some(0)), None).await;
    assert_eq!(report.verdict, Verdict::Balanced);
    (report.text(), report.unknown)
}

#[tokio::test]
async fn only_a_complete_verdict_speaks_of_every_receipt() {
    let (text, unknown) = balanced(at_rest()).await;
    assert_eq!(unknown, []);
    assert!(
        text.ends_with("balanced: every receipt has its outcome\n"),
        "{text}"
    );
}

#[tokio::test]
async fn an_ingest_that_never_closed_is_named() {
    let mut memory = at_rest();
    memory.silent = vec![SilentIngest {
        instance: INSTANCE,
        reported: 120,
        seconds: 3_000,
    }];
    let (text, unknown) = balanced(memory).await;
    assert!(matches!(unknown[..], [Unknown::SilentIngest(_)]));
    assert!(
        text.contains("has not closed and has reported nothing for 3000 s"),
        "{text}"
    );
    assert!(text.contains("what it accepted after number 120"), "{text}");
    assert!(!text.contains("every receipt has"), "{text}");
}

/// An ingest that ended without reporting its last numbers must be listed once, even if it also
/// counts as an ingest that has reported nothing for a long time.
#[tokio::test]
async fn an_ingest_with_unreported_last_numbers_is_named() {
    let mut memory = at_rest();
    memory.unvouched = vec![Unvouched {
        instance: INSTANCE,
        reported: 40,
        seen: 44,
        absent: 1,
    }];
    memory.silent = vec![SilentIngest {
        instance: INSTANCE,
        reported: 40,
        seconds: 3_000,
    }];
    let (text, unknown) = balanced(memory).await;
    assert!(matches!(unknown[..], [Unknown::Unreported(_)]));
    assert!(text.contains("UNVOUCHED: "), "{text}");
    assert!(!text.contains("every receipt has"), "{text}");
}
