//! An event that arrives again with another body, in a source whose config says that the event id
//! alone decides. The second receipt is a duplicate, not a conflict. A worker processes it, once on
//! RabbitMQ with PostgreSQL and once on SQLite.

use std::sync::atomic::Ordering;

use hookbox_conformance::{BrokerHarness, StoreHarness, another_body, envelope};
use hookbox_driver::{DeadFilter, Ledger, Outcome, ReceiptOutcome, ReceiptRow, Store};
use hookbox_event::{Envelope, RouteName};
use hookbox_testkit::eventually::eventually_is;

use crate::embedded::Embedded;
use crate::probe::{Pair, route};
use crate::whole::servers;

both_pairs!(a_failed_run_of_a_second_body_keeps_its_digest);

/// Records the event as done on a route for which no worker runs.
async fn processed_elsewhere<S: Store>(store: &S, first: &Envelope) {
    let elsewhere: RouteName = "two".parse().unwrap();
    let mut tx = store.begin().await.unwrap();
    store.claim(&mut tx, &elsewhere, &[first]).await.unwrap();
    let done = ReceiptOutcome {
        envelope: first,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    };
    let settled = store.settle(&mut tx, &elsewhere, &[done]).await;
    settled.unwrap();
    store.commit(tx).await.unwrap();
}

async fn receipt_on_one<S: Ledger>(store: &S, event: &Envelope) -> Option<ReceiptRow> {
    let shown = store.event(&event.event.to_string()).await.unwrap()?;
    let mut receipts = shown.receipts.into_iter();
    receipts.find(|row| row.route == route())
}

async fn a_failed_run_of_a_second_body_keeps_its_digest<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    processed_elsewhere(&*pair.store, &envelope("fails-first")).await;
    let second = another_body("fails-first", 2);
    pair.publish(std::slice::from_ref(&second)).await;
    let worker = pair.work_by_id();
    let all = DeadFilter::default();
    let said = async || {
        let receipt = receipt_on_one(&*pair.store, &second).await;
        receipt.map(|row| (row.outcome, row.other_digest))
    };
    let dead = Some(("dead".to_owned(), Some(second.digest)));
    eventually_is("the event must become a dead letter", &said, |it| {
        it.as_ref().is_some_and(|(outcome, _)| outcome == "dead")
    })
    .await;
    assert_eq!(said().await, dead);
    pair.failing.store(false, Ordering::SeqCst);
    assert_eq!(pair.store.dead_replay(&all, 9, "ann").await.unwrap(), 1);
    let done = Some(("done".to_owned(), Some(second.digest)));
    eventually_is("the replayed event must become done", &said, |it| {
        *it == done
    })
    .await;
    worker.stop().await;
    assert_eq!(pair.stores.effects("fails-first").await, 1);
    pair.finish().await;
}
