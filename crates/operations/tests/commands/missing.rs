//! Tests that `reconcile` lists receipts that are missing, and does not list receipts that are only
//! in flight or still wait in a queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox_driver::{
    AccountGap, Accounts, Broker, Depth, Ledger, LimitChange, OpenReceipt, Queue, RouteBooks,
    RouteChange, RouteControls, RouteScope, Unvouched,
};
use hookbox_event::{InstanceId, ReceiptId};
use hookbox_operations::command::reconcile::{
    IN_FLIGHT_MAX, OVERDUE, ReconcileReport, Storage, Verdict, WriteOff, reconcile,
    reconcile_again, write_off,
};
use hookbox_operations::render::Text;
use hookbox_operations::{CommandError, Problem, Reach, Source};

use crate::world::{Depths, Memory, Person, at, depth};

/// How long a handler may run in these tests. Its message may be in flight for as long.
const HANDLER_MAX: Duration = Duration::from_secs(40);

pub const LATE: u64 = OVERDUE.as_secs();

pub const INSTANCE: InstanceId = InstanceId::from_bytes([2; 16]);

fn open(seconds: u64, passed: bool) -> OpenReceipt {
    OpenReceipt {
        receipt: ReceiptId::from_bytes([1; 16]),
        route: "scores".parse().unwrap(),
        instance: INSTANCE,
        number: 42,
        seconds,
        passed,
    }
}

/// Returns a fake store for the route `scores`: `done` receipts are done, one waits for a retry,
/// `reported` were reported as accepted, and those in `open` have no outcome.
pub fn memory(done: u64, reported: u64, open: Vec<OpenReceipt>) -> Memory {
    let route = || "scores".parse().unwrap();
    Memory {
        books: Mutex::new(vec![vec![RouteBooks {
            route: route(),
            done,
            duplicate: 0,
            conflict: 0,
            retrying: 1,
            dead: 0,
            stale: 0,
        }]]),
        accounts: Accounts {
            reported: vec![(route(), reported)],
            open_by_route: vec![(route(), open.len() as u64)],
            open,
            gaps: Vec::new(),
            written_off: Vec::new(),
        },
        ..Memory::default()
    }
}

pub fn queues(ready: u64, in_flight: Option<u64>) -> Vec<Depth> {
    let route = Queue::Route("scores".parse().unwrap());
    vec![
        depth(route, ready, in_flight, None),
        depth(Queue::Dead, 0, in_flight.map(|_| 0), None),
        depth(Queue::Accounts, 0, in_flight.map(|_| 0), None),
    ]
}

pub async fn report(memory: Memory, queues: Vec<Depth>, wait: Option<u64>) -> ReconcileReport {
    let broker = Reach::Open(Arc::new(Depths(Mutex::new(vec![queues]))) as Arc<dyn Broker>);
    report_with(memory, broker, wait).await
}

async fn report_with(
    memory: Memory,
    broker: Reach<dyn Broker>,
    wait: Option<u64>,
) -> ReconcileReport {
    let store: Reach<dyn Ledger> = Reach::Open(Arc::new(memory));
    let wait = wait.map(Duration::from_secs);
    let mut person = Person::default();
    reconcile(
        &broker,
        &store,
        Storage::Apart,
        wait,
        HANDLER_MAX,
        &mut person,
    )
    .await
}

fn names(report: &ReconcileReport) -> bool {
    let text = report.text();
    let named = text.contains("MISSING: receipt 01010101-0101-0101-0101-010101010101");
    assert_eq!(named, report.verdict == Verdict::Imbalanced, "{text}");
    named
}

#[tokio::test]
async fn an_overdue_receipt_is_missing_once_later_ones_have_outcomes() {
    let busy = || queues(7, Some(0));
    assert!(names(
        &report(memory(90, 91, vec![open(LATE, true)]), busy(), None).await
    ));
    // A worker that has lost its connection to the store may hold the receipt, while another worker
    // settles later ones. So where messages in flight are not known to be none, the receipt is
    // missing only when it is older than any message in flight.
    let too_long = IN_FLIGHT_MAX.as_secs();
    for in_flight in [None, Some(1)] {
        for (seconds, is_missing) in [(LATE, false), (too_long - 1, false), (too_long, true)] {
            let memory = memory(90, 91, vec![open(seconds, true)]);
            let report = report(memory, queues(7, in_flight), None).await;
            assert_eq!(names(&report), is_missing, "{in_flight:?} {seconds}");
        }
    }
    // No later receipt has an outcome, so this receipt may still wait in its long queue. It must
    // not be reported as missing, however long it waits.
    assert!(!names(
        &report(memory(90, 91, vec![open(LATE, false)]), busy(), None).await
    ));
    // A receipt that will be overdue only in a second may still be in flight, so it must not be
    // reported as missing.
    assert!(!names(
        &report(memory(90, 91, vec![open(LATE - 1, true)]), busy(), None).await
    ));
}

#[tokio::test]
async fn what_is_overdue_where_nothing_waits_is_missing() {
    let after = |seconds| memory(90, 91, vec![open(seconds, false)]);
    let overdue = || after(LATE);
    assert!(names(&report(overdue(), queues(0, Some(0)), None).await));
    // A message in flight may contain the receipt. If the broker does not report messages in
    // flight, there may be one for as long as a worker may keep a message in flight.
    assert!(!names(&report(overdue(), queues(0, Some(1)), None).await));
    assert!(!names(&report(overdue(), queues(0, None), None).await));
    let too_long = IN_FLIGHT_MAX.as_secs();
    assert!(names(&report(after(too_long), queues(0, None), None).await));
    let mut in_the_dead_queue = queues(0, Some(0));
    in_the_dead_queue[1].ready = Some(1);
    assert!(!names(&report(overdue(), in_the_dead_queue, None).await));
}

/// A receipt may wait in the spool of this machine. While the spool cannot be read, empty queues
/// prove nothing, so the receipt must not be reported as missing, which would allow to write it
/// off.
#[tokio::test(start_paused = true)]
async fn while_the_spool_cannot_be_read_an_empty_queue_proves_nothing() {
    let too_long = IN_FLIGHT_MAX.as_secs();
    for (in_flight, wait) in [(Some(0), None), (None, Some(60))] {
        let depths = Depths(Mutex::new(vec![queues(0, in_flight)]));
        let lacks = Problem {
            source: Source::Spool,
            what: "the events in the spool are not counted".to_owned(),
        };
        let broker = Reach::Partial(Arc::new(depths) as Arc<dyn Broker>, lacks);
        let memory = memory(90, 91, vec![open(too_long, false)]);
        let report = report_with(memory, broker, wait).await;
        assert_eq!(report.verdict, Verdict::Unknown);
        assert!(!report.is_ok() && !report.at_rest);
        let text = report.text();
        assert!(!text.contains("MISSING"), "{text}");
        assert!(text.contains("problem at the spool: the events"), "{text}");
        assert!(text.ends_with("could not be counted\n"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_be_in_flight_is_not_missing() {
    let slow = || memory(90, 91, vec![open(5, false)]);
    let before = HANDLER_MAX.as_secs() - 1;
    assert!(!names(&report(slow(), queues(0, None), Some(before)).await));
    assert!(names(
        &report(slow(), queues(0, None), Some(before + 2)).await
    ));
    // If the broker reports that no message is in flight, the receipt counts as missing after a few
    // seconds without a change.
    assert!(names(&report(slow(), queues(0, Some(0)), Some(5)).await));
    assert!(!names(&report(slow(), queues(0, Some(1)), Some(60)).await));
}

/// At the rate that an operator has set, the next message may be in flight for as long as the
/// events of the one before need.
#[tokio::test(start_paused = true)]
async fn what_waits_for_the_rate_of_its_route_is_not_missing() {
    let limited = |seconds| {
        let memory = memory(90, 91, vec![open(seconds, false)]);
        let rate = "0.1/s".parse().unwrap();
        let limits = RouteChange::Limit {
            why: None,
            rate: LimitChange::Set(rate),
            concurrency: LimitChange::Keep,
        };
        let scope = RouteScope::One("scores".parse().unwrap());
        let controls = RouteControls::default().with(&scope, &limits, "ann", at(0));
        *memory.controls.lock().unwrap() = controls.unwrap();
        memory
    };
    // 64 events need 640 s at this rate.
    let longest = HANDLER_MAX.as_secs() + 640;
    for (wait, is_missing) in [(longest - 1, false), (longest + 1, true)] {
        let report = report(limited(5), queues(0, None), Some(wait)).await;
        assert_eq!(names(&report), is_missing, "{wait}");
    }
    for (seconds, is_missing) in [(639, false), (640, true)] {
        let report = report(
            limited(IN_FLIGHT_MAX.as_secs() + seconds),
            queues(0, None),
            None,
        );
        assert_eq!(names(&report.await), is_missing, "{seconds}");
    }
}

/// If the queues are empty, the report must not say that a receipt is in flight.
#[tokio::test]
async fn without_anything_in_a_queue_nothing_is_in_flight() {
    let young = || memory(90, 91, vec![open(5, false)]);
    let text = report(young(), queues(0, None), None).await.text();
    assert!(!text.contains("in flight"), "{text}");
    let words = "answered 200 and without an outcome: 1 receipt; no queue holds anything, so such \
                 receipts count as missing when nothing has changed for 40 s (--wait 50s waits for that)";
    assert!(text.contains(words), "{text}");
    for queues in [queues(1, None), queues(0, Some(1))] {
        let text = report(young(), queues, None).await.text();
        assert!(
            text.contains("answered 200 and still queued or in flight: 1 receipt\n"),
            "{text}"
        );
    }
}

/// After a write-off, other receipts may have become missing. So the exit code must follow from the
/// accounting as it is after the write-off.
#[tokio::test(start_paused = true)]
async fn the_verdict_is_that_of_the_accounting_after_a_write_off() {
    let broker: Reach<dyn Broker> =
        Reach::Open(Arc::new(Depths(Mutex::new(vec![queues(0, Some(0))]))));
    let store: Reach<dyn Ledger> = Reach::Open(Arc::new(memory(90, 91, vec![open(5, false)])));
    let wait = Some(Duration::from_secs(10));
    let mut person = Person::default();
    let before = reconcile(
        &broker,
        &store,
        Storage::Apart,
        wait,
        HANDLER_MAX,
        &mut person,
    )
    .await;
    assert_eq!(before.verdict, Verdict::Imbalanced);
    let still = reconcile_again(&broker, &store, &before).await;
    assert_eq!((still.verdict, still.is_ok()), (Verdict::Imbalanced, false));
    let nothing_open: Reach<dyn Ledger> = Reach::Open(Arc::new(memory(90, 91, Vec::new())));
    let clean = reconcile_again(&broker, &nothing_open, &before).await;
    assert_ne!(clean.verdict, Verdict::Imbalanced);
    // A receipt that has come since then may be in flight.
    let mut newer = open(0, false);
    newer.receipt = ReceiptId::from_bytes([9; 16]);
    let other: Reach<dyn Ledger> = Reach::Open(Arc::new(memory(90, 91, vec![newer])));
    let moving = reconcile_again(&broker, &other, &before).await;
    assert_eq!(moving.verdict, Verdict::Moving);
}

#[tokio::test]
async fn rows_that_are_gone_are_reported() {
    let report = report(
        memory(90, 100, vec![open(5, false)]),
        queues(0, Some(0)),
        None,
    )
    .await;
    assert_eq!(report.verdict, Verdict::Imbalanced);
    let text = report.text();
    // One hundred receipts were reported. Ninety are done, one waits for a retry and one has no
    // outcome, so the rows of eight receipts are gone.
    assert!(text.contains("GONE: 8 receipts of route scores"), "{text}");
    assert!(text.contains("imbalanced: 8 receipts gone"), "{text}");
    assert!(!report.is_ok());
}

#[tokio::test]
async fn what_was_stored_and_never_reported_is_no_contradiction() {
    let report = report(memory(90, 12, Vec::new()), queues(0, Some(0)), None).await;
    assert_eq!(
        report.verdict,
        Verdict::Moving,
        "one receipt waits for a retry"
    );
    assert!(report.is_ok());
}

#[tokio::test]
async fn a_gap_is_reported_when_no_accept_report_can_fill_it_or_it_is_old() {
    let is_reported = async |seconds, ready| {
        let mut memory = memory(90, 91, Vec::new());
        memory.accounts.gaps = vec![AccountGap {
            instance: INSTANCE,
            first: 7,
            last: 9,
            seconds,
        }];
        let mut queues = queues(3, Some(2));
        queues[2].ready = Some(ready);
        report(memory, queues, None)
            .await
            .text()
            .contains("UNREPORTED: ")
    };
    assert!(
        is_reported(5, 0).await,
        "a gap must be reported when no accept report is queued that could fill it"
    );
    assert!(!is_reported(5, 1).await);
    assert!(is_reported(LATE, 1).await);
}

#[tokio::test]
async fn an_ingest_that_ended_without_a_last_report_is_named_and_is_no_contradiction() {
    let mut memory = memory(90, 91, Vec::new());
    memory.unvouched = vec![Unvouched {
        instance: INSTANCE,
        reported: 40,
        seen: 44,
        absent: 1,
    }];
    let report = report(memory, queues(0, Some(0)), None).await;
    let text = report.text();
    assert!(
        text.contains("reporting numbers 41 to 44; the store does not know 1 number of them:"),
        "{text}"
    );
    assert!(report.is_ok(), "{text}");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_missing_is_written_off_and_only_when_asked() {
    let request = |yes| WriteOff {
        why: "the disk burned".into(),
        by: "ann".into(),
        yes,
    };
    let ledger = Memory::default();
    let slow = report(memory(90, 91, vec![open(5, false)]), queues(1, None), None).await;
    let mut person = Person::default();
    let written = write_off(&ledger, &slow, &request(true), &mut person).await;
    assert_eq!(
        written.unwrap().written_off,
        0,
        "a receipt that may still be in flight must not be written off"
    );

    let late = memory(90, 91, vec![open(LATE, true)]);
    let missing = report(late, queues(1, Some(0)), None).await;
    let refused = write_off(&ledger, &missing, &request(false), &mut person).await;
    assert!(matches!(
        refused,
        Err(CommandError::Declined | CommandError::NotAsked { .. })
    ));
    let mut gone = Person {
        interrupts_after: Some(0),
        progress: vec![(0, 1)],
        ..Person::default()
    };
    let interrupted = write_off(&ledger, &missing, &request(true), &mut gone).await;
    assert!(matches!(interrupted, Err(CommandError::Interrupted)));
    let mut hesitates = Person {
        answer: Some(true),
        interrupts_questions: true,
        ..Person::default()
    };
    let interrupted = write_off(&ledger, &missing, &request(false), &mut hesitates).await;
    assert!(matches!(interrupted, Err(CommandError::Interrupted)));
    assert_eq!(ledger.audits.lock().unwrap().len(), 0);
    let written = write_off(&ledger, &missing, &request(true), &mut person).await;
    assert_eq!(written.unwrap().text(), "store: written off 1\n");
    let audits = ledger.audits.lock().unwrap().clone();
    let [(by, why, _)] = &audits[..] else {
        panic!("a write-off must write exactly one audit row, not {audits:?}")
    };
    assert_eq!((by.as_str(), why.as_str()), ("ann", "the disk burned"));
}

#[tokio::test]
async fn what_is_written_off_is_not_missing() {
    let mut memory = memory(90, 100, Vec::new());
    memory.accounts.written_off = vec![("scores".parse().unwrap(), 9)];
    let report = report(memory, queues(0, Some(0)), None).await;
    assert_eq!(report.verdict, Verdict::Moving, "{}", report.text());
}
