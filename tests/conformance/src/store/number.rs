//! The promises of a store for the numbers of events.

use hookbox_driver::{Claimed, Store};
use hookbox_event::{Envelope, EventNumber, Redo, RouteName};

use super::{NOW, claim, done, fail, finish};
use crate::harness::{StoreHarness, one, two};
use crate::{envelope, of_number, with_receipt};

/// Claims an event for a route, and returns the number of the event that the transaction knows.
async fn number<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    route: &RouteName,
    envelope: &Envelope,
) -> EventNumber {
    let claimed = store.claim(tx, route, &[envelope]).await.expect("claimed");
    assert!(
        matches!(claimed[..], [Claimed::Fresh | Claimed::Granted { .. }]),
        "{claimed:?}"
    );
    store
        .number(tx, route, &envelope.event)
        .expect("a claimed event must have a number")
}

/// Checks that an event has the same number on each route, in each process, and for a retry. A
/// transaction knows the number of an event only on the route for which it has claimed the event.
pub async fn an_event_keeps_its_number<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(store.number(&tx, &one(), &envelope("a").event), None);
    let first = number(&*store, &mut tx, &one(), &envelope("a")).await;
    assert_eq!(store.number(&tx, &one(), &envelope("b").event), None);
    assert_eq!(store.number(&tx, &two(), &envelope("a").event), None);
    let end = hookbox_driver::Outcome::Done { attempt: 1 };
    finish(&*store, tx, &envelope("a"), end).await;
    let mut tx = elsewhere.begin().await.expect("begun");
    let route = number(&*elsewhere, &mut tx, &two(), &envelope("a")).await;
    assert_eq!(route, first, "two routes must see the same number");
    let again = with_receipt("a", 2);
    assert_eq!(
        claim(&*elsewhere, &mut tx, &again).await,
        Claimed::Duplicate
    );
    elsewhere.rollback(tx).await;

    fail(&*store, &envelope("b"), 1, NOW).await;
    let retry = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..envelope("b")
    };
    let mut tx = store.begin().await.expect("begun");
    let retried = number(&*store, &mut tx, &one(), &retry).await;
    let other = number(&*store, &mut tx, &two(), &envelope("b")).await;
    assert_eq!(retried, other, "a retry must see the number of its event");
    assert_ne!(retried, first);
    store.rollback(tx).await;
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that an event which is stored later has a higher number, in the same batch, in other
/// batches and on other routes.
pub async fn later_events_have_higher_numbers<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut highest = None;
    for round in 0..3 {
        done(&*store, &envelope(&format!("before-{round}"))).await;
        let batch: Vec<Envelope> = (0..5).map(|at| of_number(round * 5 + at)).collect();
        let envelopes: Vec<&Envelope> = batch.iter().collect();
        let mut tx = store.begin().await.expect("begun");
        let claimed = store.claim(&mut tx, &two(), &envelopes).await;
        assert_eq!(claimed.expect("claimed"), [Claimed::Fresh; 5]);
        let number = |it: &Envelope| {
            store
                .number(&tx, &two(), &it.event)
                .expect("the event's number must be known")
        };
        let numbers: std::collections::BTreeSet<_> = batch.iter().map(number).collect();
        assert_eq!(numbers.len(), 5, "each event must have a number of its own");
        assert!(
            numbers.first().copied() > highest,
            "{numbers:?}, {highest:?}"
        );
        highest = numbers.last().copied();
        let settled: Vec<_> = batch
            .iter()
            .map(|envelope| hookbox_driver::ReceiptOutcome {
                envelope,
                outcome: hookbox_driver::Outcome::Done { attempt: 1 },
                other_digest: None,
            })
            .collect();
        let written = store.settle(&mut tx, &two(), &settled).await;
        written.expect("settled");
        store.commit(tx).await.expect("committed");
    }
    Store::close(&*store).await;
}
