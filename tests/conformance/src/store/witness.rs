//! The promises of a store for witness messages, which show whether a store or broker was restored
//! from a backup. Also the promises for the other facts from which `hookbox reconcile` finds
//! imbalances.

use std::time::Duration;

use hookbox_driver::{AuditFilter, Ledger, Mismatch, NextWitness, SilentIngest, Store};
use hookbox_event::{Accepted, Account, Incarnation, InstanceId, ReceiptId, Witness};

use crate::harness::{StoreHarness, one};
use crate::store::done;
use crate::with_receipt;

/// A time longer than any test. It is used as the time without a report after which an ingest
/// counts as unresponsive, so no ingest does.
const LONG: Duration = Duration::from_secs(3_600);

/// Builds an accept report with one receipt.
fn account(instance: InstanceId, number: u64, closing: bool) -> Account {
    let [_, .., byte] = number.to_be_bytes();
    Account {
        instance,
        first: number,
        last: number,
        closing,
        accepted: vec![Accepted {
            routes: vec![one()],
            first: number,
            receipts: vec![ReceiptId::from_bytes([byte; 16])],
        }],
    }
}

const INSTANCE: InstanceId = InstanceId::from_bytes([5; 16]);

async fn take(store: &impl Store, found: &[Witness]) -> NextWitness {
    store.take_witness(found, &[one()]).await.expect("taken")
}

async fn published(store: &impl Store, found: &[Witness]) -> Witness {
    match take(store, found).await {
        NextWitness::Publish(witness) => witness,
        other => panic!("expected a witness message to publish, got {other:?}"),
    }
}

/// Checks that the store returns a new witness message to publish when something was reported since
/// the last one. Until the broker's confirm of this message is recorded, the store returns the same
/// message to every process.
pub async fn a_witness_follows_what_is_reported<H: StoreHarness>(world: &H) {
    let (store, other) = (world.open().await, world.open().await);
    let first = published(&*store, &[]).await;
    assert_eq!((first.sequence, first.receipts), (1, 0));
    assert_eq!(first.ingests, []);
    assert_eq!(
        published(&*other, &[]).await,
        first,
        "the store must return the first witness again until its confirm is recorded"
    );
    store.witness_confirmed(1).await.expect("recorded");
    let found = [first.clone()];
    assert_eq!(take(&*other, &found).await, NextWitness::Unchanged);
    let reported = account(INSTANCE, 1, false);
    store.account(&reported).await.expect("written");
    let second = published(&*other, &found).await;
    assert_eq!((second.sequence, second.receipts), (2, 1));
    assert_eq!(
        (second.store, second.routes.clone()),
        (first.store, vec![one()])
    );
    let [reported] = &second.ingests[..] else {
        panic!("expected exactly one ingest: {second:?}")
    };
    assert_eq!((reported.instance, reported.number), (INSTANCE, 1));
    // Another receipt is reported before the second witness message is confirmed.
    let reported = account(INSTANCE, 2, false);
    store.account(&reported).await.expect("written");
    assert_eq!(published(&*store, &found).await.sequence, 3);
    other.witness_confirmed(3).await.expect("recorded");
    other.witness_confirmed(2).await.expect("late");
    let position = store.witness_position().await.expect("read");
    assert_eq!((position.sequence(), position.confirmed), (3, 3));
    assert_eq!((position.incarnation, position.receipts), (first.store, 2));
    Store::close(&*store).await;
    Store::close(&*other).await;
}

/// Checks that the store reports a mismatch in two cases: the broker holds a witness message that
/// the store does not know, or the broker lacks one that the store has recorded as confirmed. In
/// both cases the store commits no new witness message.
pub async fn a_store_behind_its_witness_is_found<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let reported = account(INSTANCE, 1, false);
    store.account(&reported).await.expect("written");
    let known = published(&*store, &[]).await;
    store.witness_confirmed(1).await.expect("recorded");
    let mut later = known.clone();
    (later.sequence, later.receipts, later.ingests[0].number) = (9, 601, 601);
    let NextWitness::Mismatch(Mismatch::StoreBehind(behind)) =
        take(&*store, &[known.clone(), later.clone()]).await
    else {
        panic!("the store must report that it is behind the newest witness message")
    };
    assert_eq!((behind.store, behind.broker, behind.receipts), (1, 9, 600));
    assert_eq!(behind.from, known.at);
    let [unknown] = behind.ingests[..] else {
        panic!("expected exactly one ingest: {behind:?}")
    };
    assert_eq!((unknown.first, unknown.last), (2, 601));
    later.store = Incarnation::from_bytes([9; 16]);
    assert!(matches!(
        take(&*store, &[later]).await,
        NextWitness::Mismatch(Mismatch::OtherStore(_))
    ));
    assert!(matches!(
        take(&*store, &[]).await,
        NextWitness::Mismatch(Mismatch::BrokerBehind(_))
    ));
    let position = store.witness_position().await.expect("read");
    assert_eq!(
        position.newest,
        Some(known),
        "the store must commit no new witness message during a mismatch"
    );
    Store::close(&*store).await;
}

/// Checks that an operator can accept a mismatch of store and broker. The mismatch ends when the
/// next witness message is published. It stays in the audit and in the list of accepted restores.
pub async fn an_accepted_restore_begins_another_life<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let known = published(&*store, &[]).await;
    store.witness_confirmed(1).await.expect("recorded");
    assert_eq!(store.accepted_restores(10).await.expect("read"), []);
    let mut later = known.clone();
    later.sequence = 9;
    let NextWitness::Mismatch(mismatch) = take(&*store, &[later.clone()]).await else {
        panic!("the store must report that it is behind the newest witness message")
    };
    let accepted = store.accept_restore(&mismatch, "ann", "the disk burned");
    let fresh = accepted.await.expect("accepted");
    assert_eq!(fresh.sequence, 10);
    assert_ne!(fresh.store, known.store);
    assert!(
        matches!(
            take(&*store, &[later.clone()]).await,
            NextWitness::Mismatch(_)
        ),
        "the mismatch of store and broker must last until the new witness is published"
    );
    let held = [later, fresh.clone()];
    assert_eq!(take(&*store, &held).await, NextWitness::Publish(fresh));
    store.witness_confirmed(10).await.expect("recorded");
    assert_eq!(take(&*store, &held).await, NextWitness::Unchanged);
    let accepted = store.accepted_restores(10).await.expect("read");
    let [one] = &accepted[..] else {
        panic!("expected exactly one accepted restore: {accepted:?}")
    };
    assert_eq!(
        (one.by.as_str(), one.why.as_str()),
        ("ann", "the disk burned")
    );
    assert_eq!(one.what, mismatch.describe());
    let audits = store
        .audits(&AuditFilter::default(), None, 10)
        .await
        .expect("audited");
    assert_eq!(audits.len(), 1, "{audits:?}");
    assert_eq!(
        (audits[0].actor.as_str(), audits[0].action.as_str()),
        ("ann", "reconcile.accept_restore")
    );
    assert_eq!(audits[0].subject, format!("the disk burned: {}", one.what));
    Store::close(&*store).await;
}

/// Checks that an ingest is listed when its reports stop and it has sent no closing report, the
/// last report of an ingest that ends in order. It stays listed until it sends another report or a
/// closing report.
pub async fn an_ingest_that_never_closed_is_listed_without_reports<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (open, closed) = (INSTANCE, InstanceId::from_bytes([6; 16]));
    for reported in [
        account(open, 1, false),
        account(open, 2, false),
        account(closed, 1, true),
    ] {
        store.account(&reported).await.expect("written");
    }
    let silent = async |since| store.silent(10, since).await.expect("read");
    assert_eq!(
        silent(LONG).await,
        [],
        "an ingest that reported recently must not be listed"
    );
    let found = silent(Duration::ZERO).await;
    let [
        SilentIngest {
            instance, reported, ..
        },
    ] = found[..]
    else {
        panic!("expected exactly one ingest without reports: {found:?}")
    };
    assert_eq!((instance, reported), (open, 2));
    store
        .account(&account(open, 3, true))
        .await
        .expect("written");
    assert_eq!(silent(Duration::ZERO).await, []);
    Store::close(&*store).await;
}

/// Checks a receipt whose sequence number is above the last number that its ingest reported. If the
/// ingest is closed, the receipt is an imbalance, because a closed ingest assigns no more numbers.
/// If the ingest is open, the receipt is none, because the ingest will report the number later.
pub async fn a_number_beyond_a_closing_report_is_an_imbalance<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut event = with_receipt("late", 1);
    event.number = 3;
    done(&*store, &event).await;
    let mut reported = account(event.instance, 1, false);
    store.account(&reported).await.expect("written");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    // The ingest reported number 3 as void, because the confirm of the broker came too late. But
    // the broker had stored the message, so the receipt with number 3 reached the store.
    (reported.first, reported.last, reported.accepted) = (2, 3, Vec::new());
    store.account(&reported).await.expect("written");
    (reported.first, reported.last, reported.closing) = (4, 3, true);
    store.account(&reported).await.expect("closed");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    let mut beyond = with_receipt("beyond", 2);
    beyond.number = 4;
    done(&*store, &beyond).await;
    let found = store.imbalances(10).await.expect("read");
    let [one] = &found[..] else {
        panic!("expected exactly one imbalance: {found:?}")
    };
    assert_eq!(one.event, Some(beyond.event));
    assert!(
        one.what.contains("its ingest closed with number 3"),
        "{one:?}"
    );
    Store::close(&*store).await;
}

/// Checks that two receipts with the same sequence number of one ingest are an imbalance. One
/// receipt that is on two routes is no imbalance.
pub async fn one_number_of_two_receipts_is_an_imbalance<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let first = with_receipt("first", 1);
    done(&*store, &first).await;
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    let mut second = with_receipt("second", 1);
    second.number = first.number;
    done(&*store, &second).await;
    let found = store.imbalances(10).await.expect("read");
    let [one] = &found[..] else {
        panic!("expected exactly one imbalance: {found:?}")
    };
    assert!(
        one.what.contains("another receipt has the number"),
        "{one:?}"
    );
    Store::close(&*store).await;
}
