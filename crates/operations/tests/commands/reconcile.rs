//! Tests `reconcile`: its verdict, its report, and how long it waits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use expect_test::expect;
use hookbox_driver::{
    AccountGap, Accounts, Broker, Depth, Imbalance, Ledger, OpenReceipt, Queue, RouteBooks,
};
use hookbox_event::{InstanceId, ReceiptId};
use hookbox_operations::Reach;
use hookbox_operations::command::reconcile::{self, ReconcileReport, Storage, Verdict};
use hookbox_operations::render::{Text, json};

use crate::world::{Depths, Memory, Person, depth, event_id};

/// How long a worker may keep a message in flight in these tests.
const IN_FLIGHT_MAX: Duration = Duration::from_secs(10);

async fn reconcile(
    broker: &Reach<dyn Broker>,
    store: &Reach<dyn Ledger>,
    wait: Option<Duration>,
    person: &mut Person,
) -> ReconcileReport {
    reconcile::reconcile(broker, store, Storage::Apart, wait, IN_FLIGHT_MAX, person).await
}

fn book(done: u64, retrying: u64) -> Vec<RouteBooks> {
    vec![RouteBooks {
        route: "scores".parse().unwrap(),
        done,
        duplicate: 5,
        conflict: 1,
        retrying,
        dead: 2,
        stale: 0,
    }]
}

fn store(readings: Vec<Vec<RouteBooks>>) -> Reach<dyn Ledger> {
    Reach::Open(Arc::new(Memory {
        books: Mutex::new(readings),
        ..Memory::default()
    }))
}

fn scores(ready: u64, in_flight: Option<u64>, events: Option<u64>) -> Vec<Depth> {
    let route = Queue::Route("scores".parse().unwrap());
    vec![
        depth(route, ready, in_flight, events),
        depth(Queue::Dead, 0, in_flight.map(|_| 0), None),
        depth(Queue::Accounts, 0, in_flight.map(|_| 0), None),
    ]
}

fn broker(readings: Vec<Vec<Depth>>) -> Reach<dyn Broker> {
    Reach::Open(Arc::new(Depths(Mutex::new(readings))))
}

#[tokio::test]
async fn a_balanced_accounting_is_reported_as_such() {
    let broker = broker(vec![scores(0, Some(0), Some(0))]);
    let report = reconcile(
        &broker,
        &store(vec![book(92, 0)]),
        None,
        &mut Person::default(),
    )
    .await;
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores       100                 0           92          5         1     2         0  0 events
        balanced: every receipt has its outcome
    "#]]
    .assert_eq(&report.text());
    expect![[r#"
        {
          "verdict": "balanced",
          "waited": false,
          "at_rest": false,
          "routes": [
            {
              "route": "scores",
              "reported": 0,
              "open": 0,
              "written_off": 0,
              "accepted": 100,
              "store": {
                "receipts": 100,
                "done": 92,
                "duplicate": 5,
                "conflict": 1,
                "dead": 2,
                "stale": 0,
                "retrying": 0
              },
              "broker": {
                "ready": 0,
                "in_flight": 0,
                "events": 0
              },
              "paused": null
            }
          ],
          "dead_queue": {
            "ready": 0,
            "in_flight": 0,
            "events": null
          },
          "accept_report_queue": {
            "ready": 0,
            "in_flight": 0,
            "events": null
          },
          "dead_letters": 0,
          "accept_reports": {
            "open": 0,
            "receipts": [],
            "missing": [],
            "gaps": [],
            "unvouched": []
          },
          "witness": {
            "mismatch": null,
            "accepted": []
          },
          "unknown": [],
          "missing_after_seconds": null,
          "not_configured": [],
          "imbalances": [],
          "problems": []
        }
    "#]]
    .assert_eq(&json(&report));
    assert!(report.is_ok());
}

#[tokio::test]
async fn in_flight_is_counted_in_what_the_broker_knows() {
    let mut person = Person::default();
    let events = broker(vec![scores(1, Some(2), Some(90))]);
    let report = reconcile(&events, &store(vec![book(2, 0)]), None, &mut person).await;
    assert_eq!(report.routes[0].accepted, Some(100));
    assert_eq!(report.verdict, Verdict::Moving);
    assert!(
        report.is_ok(),
        "without `--wait`, work in progress must not make the command fail"
    );

    let messages = broker(vec![scores(3, None, None)]);
    let report = reconcile(&messages, &store(vec![book(2, 0)]), None, &mut person).await;
    assert_eq!(report.routes[0].accepted, None);
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores         ?                 0            2          5         1     2         0  3 messages ready
        moving: no contradiction found; --wait 30s waits until all work is done
    "#]]
    .assert_eq(&report.text());
}

#[tokio::test]
async fn an_imbalance_is_listed_and_is_a_failure() {
    let memory = Memory {
        imbalances: vec![Imbalance {
            route: "scores".parse().unwrap(),
            event: Some(event_id(0xcd)),
            what: "the claim is done and there is no receipt".into(),
        }],
        books: Mutex::new(vec![book(1, 0)]),
        ..Memory::default()
    };
    let broker = broker(vec![scores(0, Some(0), None)]);
    let store: Reach<dyn Ledger> = Reach::Open(Arc::new(memory));
    let report = reconcile(&broker, &store, None, &mut Person::default()).await;
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores         9                 0            1          5         1     2         0  0 messages
        store: imbalance on route scores, event cdcdcdcdcdcd: the claim is done and there is no receipt
        imbalanced: 1 contradiction; `hookbox events show` has the history of an event
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "verdict": "imbalanced",
          "waited": false,
          "at_rest": false,
          "routes": [
            {
              "route": "scores",
              "reported": 0,
              "open": 0,
              "written_off": 0,
              "accepted": 9,
              "store": {
                "receipts": 9,
                "done": 1,
                "duplicate": 5,
                "conflict": 1,
                "dead": 2,
                "stale": 0,
                "retrying": 0
              },
              "broker": {
                "ready": 0,
                "in_flight": 0,
                "events": null
              },
              "paused": null
            }
          ],
          "dead_queue": {
            "ready": 0,
            "in_flight": 0,
            "events": null
          },
          "accept_report_queue": {
            "ready": 0,
            "in_flight": 0,
            "events": null
          },
          "dead_letters": 0,
          "accept_reports": {
            "open": 0,
            "receipts": [],
            "missing": [],
            "gaps": [],
            "unvouched": []
          },
          "witness": {
            "mismatch": null,
            "accepted": []
          },
          "unknown": [],
          "missing_after_seconds": null,
          "not_configured": [],
          "imbalances": [
            {
              "route": "scores",
              "event": "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
              "what": "the claim is done and there is no receipt"
            }
          ],
          "problems": []
        }
    "#]]
    .assert_eq(&json(&report));
    assert!(!report.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_wait_lasts_until_nothing_moves() {
    let broker = broker(vec![
        scores(4, Some(1), None),
        scores(0, Some(1), None),
        scores(0, Some(0), None),
        scores(0, Some(0), None),
    ]);
    let store = store(vec![book(1, 0), book(80, 0), book(90, 2), book(92, 0)]);
    let began = tokio::time::Instant::now();
    let wait = Some(Duration::from_secs(60));
    let report = reconcile(&broker, &store, wait, &mut Person::default()).await;
    assert_eq!(report.verdict, Verdict::Balanced);
    assert_eq!(report.routes[0].accepted, Some(100));
    assert_eq!(began.elapsed(), Duration::from_millis(1_500));
}

#[tokio::test(start_paused = true)]
async fn where_in_flight_is_not_reported_nothing_may_change_for_a_while() {
    let broker = broker(vec![scores(0, None, None)]);
    let store = store(vec![book(1, 0), book(80, 0), book(92, 0)]);
    let began = tokio::time::Instant::now();
    let wait = Some(Duration::from_secs(60));
    let report = reconcile(&broker, &store, wait, &mut Person::default()).await;
    assert_eq!(report.verdict, Verdict::Balanced);
    assert_eq!(
        began.elapsed(),
        Duration::from_secs(4),
        "the wait must end four seconds after its start, that is, after three seconds without a \
         change"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_bounded_and_work_in_progress_is_a_failure() {
    let broker = broker(vec![scores(0, Some(0), None)]);
    let began = tokio::time::Instant::now();
    let wait = Some(Duration::from_millis(5_200));
    let mut report = reconcile(
        &broker,
        &store(vec![book(1, 3)]),
        wait,
        &mut Person::default(),
    )
    .await;
    assert_eq!(report.verdict, Verdict::Moving);
    assert!(!report.is_ok());
    assert_eq!(began.elapsed(), Duration::from_millis(5_200));
    assert!(
        report
            .text()
            .ends_with("--wait ended while something was in flight or retrying\n")
    );
    report.compare_config(|_| true);
    assert_eq!(report.not_configured, []);
    report.compare_config(|route| route != "scores");
    let expect = "NOT IN THE CONFIG: 3 receipts wait for an attempt on route scores, ";
    assert!(report.text().contains(expect), "{}", report.text());
}

#[tokio::test]
async fn with_one_source_unavailable_the_verdict_is_unknown() {
    let unavailable = Reach::Unavailable("the broker cannot be reached".into());
    let report = reconcile(
        &unavailable,
        &store(vec![book(1, 0)]),
        None,
        &mut Person::default(),
    )
    .await;
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(!report.is_ok());
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores         ?                 0            1          5         1     2         0  -
        problem at the broker: the broker cannot be reached
        unknown: the broker or the store did not answer
    "#]]
    .assert_eq(&report.text());
}

#[tokio::test]
async fn what_is_missing_is_named_once_nothing_is_in_flight() {
    let open = OpenReceipt {
        receipt: ReceiptId::from_bytes([1; 16]),
        route: "scores".parse().unwrap(),
        instance: InstanceId::from_bytes([2; 16]),
        number: 42,
        seconds: 5,
        passed: false,
    };
    let gap = AccountGap {
        instance: InstanceId::from_bytes([2; 16]),
        first: 7,
        last: 9,
        seconds: 5,
    };
    let memory = || Memory {
        books: Mutex::new(vec![book(92, 0)]),
        accounts: Accounts {
            reported: vec![("scores".parse().unwrap(), 101)],
            open_by_route: vec![("scores".parse().unwrap(), 1)],
            open: vec![open.clone()],
            gaps: Vec::new(),
            written_off: Vec::new(),
        },
        ..Memory::default()
    };
    let (mut person, at_rest) = (Person::default(), || {
        broker(vec![scores(0, Some(0), Some(0))])
    });
    let store = Reach::Open(Arc::new(memory()) as Arc<dyn Ledger>);
    let report = reconcile(&at_rest(), &store, None, &mut person).await;
    assert_eq!(
        report.verdict,
        Verdict::Moving,
        "a receipt that may be in flight must not be reported as missing"
    );
    assert!(
        report
            .text()
            .contains("answered 200 and without an outcome: 1 receipt; no queue holds anything")
    );
    let wait = Some(Duration::from_secs(20));
    let report = reconcile(&at_rest(), &store, wait, &mut person).await;
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores       100               101           92          5         1     2         0  0 events
        MISSING: receipt 01010101-0101-0101-0101-010101010101 of route scores was answered 200 and is neither queued nor stored (number 42 of ingest 02020202-0202-0202-0202-020202020202)
        imbalanced: 1 missing receipt; `hookbox events show` has the history of an event
    "#]].assert_eq(&report.text());
    assert!(!report.is_ok());

    let gaps = Memory {
        accounts: Accounts {
            gaps: vec![gap],
            ..Accounts::default()
        },
        ..memory()
    };
    let store = Reach::Open(Arc::new(gaps) as Arc<dyn Ledger>);
    let report = reconcile(&at_rest(), &store, None, &mut person).await;
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores       100                 0           92          5         1     2         0  0 events
        UNREPORTED: ingest 02020202-0202-0202-0202-020202020202 never reported sequence numbers 7 to 9
        imbalanced: 1 unreported range; `hookbox events show` has the history of an event
    "#]].assert_eq(&report.text());
    assert!(!report.is_ok());
}
