//! Tests that `reconcile` recognises from the witness messages that a store or a broker was
//! restored from a backup or replaced, and says what to do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use expect_test::expect;
use hookbox_driver::{
    AcceptedRestore, Batch, Broker, Depth, Fault, Ledger, Mismatch, PublishError, PublishErrorKind,
    Queue, Readiness, Subscription,
};
use hookbox_event::{Account, RouteName, Witness};
use hookbox_operations::command::reconcile::{
    AcceptRestore, ReconcileReport, Storage, Unknown, Verdict, accept_restore, reconcile,
};
use hookbox_operations::render::{Text, json};
use hookbox_operations::{CommandError, Reach, Source};

use crate::missing::queues;
use crate::world::{Depths, Memory, Person, at, unavailable, witness};

/// A fake broker with empty queues. It has lists of witness messages, and each reading returns the
/// next list. When all lists were returned, the last list is repeated.
struct WitnessBroker {
    depths: Depths,
    readings: Mutex<Vec<Vec<Witness>>>,
    published: Mutex<Vec<Witness>>,
}

#[async_trait]
impl Broker for WitnessBroker {
    async fn publish(&self, _: &[RouteName], _: &Batch) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unavailable))
    }

    async fn publish_report(&self, _: &Account) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unavailable))
    }

    async fn publish_witness(&self, witness: &Witness) -> Result<(), PublishError> {
        self.published.lock().unwrap().push(witness.clone());
        Ok(())
    }

    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        let mut readings = self.readings.lock().unwrap();
        if readings.len() > 1 {
            return Ok(readings.remove(0));
        }
        readings.first().cloned().ok_or_else(unavailable)
    }

    async fn subscribe(&self, _: &Queue, _: u16) -> Result<Box<dyn Subscription>, Fault> {
        Err(unavailable())
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        self.depths.depths().await
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    async fn close(&self) {}
}

fn holding(readings: Vec<Vec<Witness>>) -> Arc<WitnessBroker> {
    Arc::new(WitnessBroker {
        depths: Depths(Mutex::new(vec![queues(0, Some(0))])),
        readings: Mutex::new(readings),
        published: Mutex::default(),
    })
}

fn store(sequence: u64) -> Memory {
    Memory {
        witness: Some(witness(1, sequence)),
        ..Memory::default()
    }
}

async fn report(memory: Memory, broker: Arc<WitnessBroker>, storage: Storage) -> ReconcileReport {
    let store: Reach<dyn Ledger> = Reach::Open(Arc::new(memory));
    let broker: Reach<dyn Broker> = Reach::Open(broker);
    let (in_flight_max, mut person) = (Duration::from_secs(10), Person::default());
    reconcile(&broker, &store, storage, None, in_flight_max, &mut person).await
}

#[tokio::test]
async fn a_store_that_was_restored_is_red_with_the_span() {
    let broker = holding(vec![vec![witness(1, 64), witness(1, 63)]]);
    let report = report(store(4), broker, Storage::Apart).await;
    assert_eq!(report.verdict, Verdict::Imbalanced);
    assert!(!report.is_ok());
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores         0                 0            0          0         0     0         0  0 messages
        RESTORED: the store was restored to an older state: its newest witness is number 4 (of 2026-09-21T14:14:00Z), and the broker holds number 64 (of 2026-09-21T14:24:00Z), which is 600 receipts later
        RESTORED: ingest 07070707-0707-0707-0707-070707070707 had reported numbers 41 to 640, and the store does not know them
        RESTORED: ask the provider to send again what it sent from 2026-09-21T14:14:00Z to 2026-09-21T14:24:00Z (600 receipts reported), and from then until the restore: events that the store still has are recorded as duplicates
        RESTORED: when that is done, `hookbox reconcile --accept-restore REASON` accepts this state, and store and broker start afresh
        imbalanced: 1 contradiction of store and broker; `hookbox events show` has the history of an event
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "mismatch": {
            "kind": "store_behind",
            "from": "2026-09-21T14:14:00Z",
            "until": "2026-09-21T14:24:00Z",
            "store": 4,
            "broker": 64,
            "receipts": 600,
            "ingests": [
              {
                "instance": "07070707-0707-0707-0707-070707070707",
                "first": 41,
                "last": 640
              }
            ]
          },
          "accepted": []
        }
    "#]]
    .assert_eq(&json(&report.witness));
}

#[tokio::test]
async fn another_store_is_red() {
    let broker = holding(vec![vec![witness(1, 4), witness(9, 5)]]);
    let report = report(store(4), broker, Storage::Apart).await;
    assert_eq!(report.verdict, Verdict::Imbalanced);
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores         0                 0            0          0         0     0         0  0 messages
        RESTORED: the broker was used with another store: this store is 01010101-0101-0101-0101-010101010101, its newest witness is of 2026-09-21T14:14:00Z, and the broker holds witness number 5 of store 09090909-0909-0909-0909-090909090909 (of 2026-09-21T14:14:10Z)
        RESTORED: if this is the wrong database or broker, correct the config; if the database was replaced, ask the provider to send again what it sent from 2026-09-21T14:14:00Z to 2026-09-21T14:14:10Z, and from then until the database was replaced
        RESTORED: when that is done, `hookbox reconcile --accept-restore REASON` accepts this state, and store and broker start afresh
        imbalanced: 1 contradiction of store and broker; `hookbox events show` has the history of an event
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "mismatch": {
            "kind": "other_store",
            "store": "01010101-0101-0101-0101-010101010101",
            "broker": "09090909-0909-0909-0909-090909090909",
            "from": "2026-09-21T14:14:00Z",
            "until": "2026-09-21T14:14:10Z",
            "sequence": 5
          },
          "accepted": []
        }
    "#]]
    .assert_eq(&json(&report.witness));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_emptied_is_red() {
    let broker = holding(vec![vec![]]);
    let report = report(store(4), broker, Storage::Apart).await;
    assert_eq!(report.verdict, Verdict::Imbalanced);
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores         0                 0            0          0         0     0         0  0 messages
        RESTORED: the broker was replaced, emptied or restored: it has confirmed witness number 4 (of 2026-09-21T14:14:00Z), and holds no witness
        RESTORED: the messages in the broker's queues (routes scores, the dead-letter queue and accept reports) are lost if these queues were deleted or emptied: ask the provider to send again what it sent since 2026-09-21T14:13:20Z
        RESTORED: when that is done, `hookbox reconcile --accept-restore REASON` accepts this state, and store and broker start afresh
        imbalanced: 1 contradiction of store and broker; `hookbox events show` has the history of an event
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "mismatch": {
            "kind": "broker_behind",
            "confirmed": 4,
            "found": null,
            "from": "2026-09-21T14:13:20Z",
            "until": "2026-09-21T14:14:00Z",
            "routes": [
              "scores"
            ]
          },
          "accepted": []
        }
    "#]]
    .assert_eq(&json(&report.witness));
}

/// While another reader holds the broker's witness messages for a moment, the broker seems to have
/// none. The witness messages must be read again until all of them are found.
#[tokio::test(start_paused = true)]
async fn a_broker_whose_witnesses_are_being_read_is_not_an_empty_one() {
    let reading = vec![witness(1, 3), witness(1, 4)];
    let broker = holding(vec![vec![], vec![witness(1, 2)], vec![], reading]);
    let well = report(store(4), broker, Storage::Apart).await;
    assert_eq!(well.verdict, Verdict::Balanced, "{}", well.text());
    assert!(
        well.text()
            .ends_with("balanced: every receipt has its outcome\n")
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_compared_is_unknown_and_not_balanced() {
    let report = report(store(4), holding(Vec::new()), Storage::Apart).await;
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(report.problems[0].source, Source::Broker);
}

#[tokio::test]
async fn of_one_file_nothing_can_tell_whether_it_was_restored() {
    let report = report(store(4), holding(Vec::new()), Storage::OneFile).await;
    assert_eq!(report.verdict, Verdict::Balanced);
    assert_eq!(report.unknown, [Unknown::RestoredFile]);
    expect![[r#"
        ROUTE   ACCEPTED  ingest: REPORTED  store: DONE  DUPLICATE  CONFLICT  DEAD  RETRYING  broker: IN QUEUE
        scores         0                 0            0          0         0     0         0  0 messages
        UNKNOWN: whether the file was restored to an older state: store and broker are this one file, and there is nothing to compare it with
        balanced: every receipt that is known has its outcome; what is unknown is listed above
    "#]].assert_eq(&report.text());
}

fn request(yes: bool) -> AcceptRestore {
    AcceptRestore {
        why: "the provider has sent it again".into(),
        by: "ann".into(),
        yes,
    }
}

#[tokio::test]
async fn a_restore_is_accepted_when_a_person_says_so() {
    let (memory, broker) = (store(4), holding(vec![vec![witness(1, 64)]]));
    let mut person = Person::default();
    let refused = accept_restore(&*broker, &memory, &request(false), &mut person).await;
    assert!(matches!(refused, Err(CommandError::NotAsked { .. })));
    assert!(
        person.asked[0].contains("receipts later"),
        "{:?}",
        person.asked
    );
    assert_eq!(memory.audits.lock().unwrap().len(), 0);
    assert_eq!(broker.published.lock().unwrap()[..], []);
    let accepted = accept_restore(&*broker, &memory, &request(true), &mut person).await;
    let accepted = accepted.unwrap();
    assert!(matches!(accepted.accepted, Some(Mismatch::StoreBehind(_))));
    let text = accepted.text();
    assert!(
        text.starts_with("store: accepted that the store was restored"),
        "{text}"
    );
    let audits = memory.audits.lock().unwrap().clone();
    assert_eq!((audits[0].0.as_str(), audits.len()), ("ann", 1));
    assert_eq!(broker.published.lock().unwrap()[..], [witness(2, 65)]);
}

#[tokio::test]
async fn where_both_agree_there_is_nothing_to_accept() {
    let (memory, broker) = (store(4), holding(vec![vec![witness(1, 4)]]));
    let mut person = Person::default();
    let accepted = accept_restore(&*broker, &memory, &request(true), &mut person).await;
    assert!(
        accepted
            .unwrap()
            .text()
            .contains("so there was nothing to accept")
    );
    assert_eq!(broker.published.lock().unwrap()[..], []);
}

#[tokio::test]
async fn what_was_accepted_stays_listed() {
    let accepted = AcceptedRestore {
        at: at(700),
        by: "ann".into(),
        why: "it was \u{1b}[31msent again".into(),
        what: "the store was restored".into(),
    };
    let memory = Memory {
        accepted: vec![accepted],
        ..store(4)
    };
    let broker = holding(vec![vec![witness(1, 4)]]);
    let report = report(memory, broker, Storage::Apart).await;
    assert_eq!(report.verdict, Verdict::Balanced);
    let text = report.text();
    assert!(text.contains("by ann (it was "), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}
