//! The promises of a store for claims. The claim of an event decides whether its handler may run.

use hookbox_driver::{Claimed, Ledger, Outcome, ReceiptOutcome, Store};
use hookbox_event::{Envelope, Redo};

use super::{claim, done, finish, probe};
use crate::harness::{StoreHarness, one, two};
use crate::{another_body, envelope, of_number, with_receipt};

/// The number of races between two claims of one event. All tests run on two drivers, so a run of
/// them has a thousand races.
const RACES: u32 = 500;

pub async fn the_first_claim_is_fresh<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Fresh);
    Store::close(&*store).await;
}

pub async fn the_second_is_a_duplicate<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let second = with_receipt("a", 2);
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &second).await, Claimed::Duplicate);
    finish(&*store, tx, &second, Outcome::Duplicate).await;
    assert_eq!(
        probe(&*store, &second).await,
        Claimed::Redelivered,
        "the store must know the second receipt and its outcome"
    );
    Store::close(&*store).await;
}

pub async fn another_body_is_a_conflict<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    assert_eq!(
        probe(&*store, &another_body("a", 2)).await,
        Claimed::Conflict
    );
    Store::close(&*store).await;
}

pub async fn the_same_receipt_again_is_redelivered<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Redelivered);
    let elsewhere = world.open().await;
    assert_eq!(
        probe(&*elsewhere, &envelope("a")).await,
        Claimed::Redelivered
    );
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

pub async fn claims_are_per_route<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let mut tx = store.begin().await.expect("begun");
    let elsewhere = store
        .claim(&mut tx, &two(), &[&envelope("a")])
        .await
        .expect("claimed");
    assert_eq!(elsewhere, [Claimed::Fresh]);
    store.rollback(tx).await;
    Store::close(&*store).await;
}

/// Checks what becomes of a retry whose claim is gone, because the store was restored to an earlier
/// moment, when another body of its event was stored since.
pub async fn a_retry_without_a_claim_whose_body_is_not_the_stored_one_is_a_conflict<
    H: StoreHarness,
>(
    world: &H,
) {
    let store = world.open().await;
    done(&*store, &another_body("a", 2)).await;
    let retry = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..envelope("a")
    };
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, &two(), &[&retry]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Conflict]);
    store.rollback(tx).await;
    let same = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..another_body("a", 3)
    };
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, &two(), &[&same]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Fresh]);
    store.rollback(tx).await;
    Store::close(&*store).await;
}

/// Checks that events which were stored without a claim are claimed as new on every route, and that
/// storing an event twice changes nothing.
pub async fn an_event_that_was_stored_before_is_claimed_as_new<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (first, second) = (envelope("a"), envelope("b"));
    for events in [vec![&first], vec![&second, &first]] {
        store.store_events(&events).await.expect("stored");
    }
    for route in [one(), two()] {
        let mut tx = store.begin().await.expect("begun");
        let claimed = store.claim(&mut tx, &route, &[&first, &second]).await;
        assert_eq!(claimed.expect("claimed"), [Claimed::Fresh, Claimed::Fresh]);
        H::effect(store.connection(&mut tx), "stored").await;
        let settled = [&first, &second].map(|envelope| ReceiptOutcome {
            envelope,
            outcome: Outcome::Done { attempt: 1 },
            other_digest: None,
        });
        let written = store.settle(&mut tx, &route, &settled).await;
        written.expect("settled");
        store.commit(tx).await.expect("committed");
    }
    store.store_events(&[&first]).await.expect("stored");
    assert_eq!(probe(&*store, &first).await, Claimed::Redelivered);
    assert_eq!(world.effects("stored").await, 2);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn of_two_concurrent_claims_one_is_fresh<H: StoreHarness>(world: &H) {
    let (left, right) = (world.open().await, world.open().await);
    for round in 0..RACES {
        let event = format!("raced-{round}");
        let run = async |store: &H::Store, receipt: u8| {
            let envelope = with_receipt(&event, receipt);
            let mut fresh = 0;
            // The store reports contention as a fault. As a worker does, the test then runs the
            // whole transaction again at once.
            let claimed = loop {
                let mut tx = match store.begin().await {
                    Ok(tx) => tx,
                    Err(fault) if fault.kind() == hookbox_driver::FaultKind::Contention => continue,
                    Err(fault) => panic!("{fault:?}"),
                };
                match store.claim(&mut tx, &one(), &[&envelope]).await {
                    Ok(claimed) => {
                        let outcome = if claimed[0] == Claimed::Fresh {
                            fresh = 1;
                            H::effect(store.connection(&mut tx), "raced").await;
                            Outcome::Done { attempt: 1 }
                        } else {
                            Outcome::Duplicate
                        };
                        finish(store, tx, &envelope, outcome).await;
                        break claimed[0];
                    }
                    Err(fault) => {
                        assert_eq!(fault.kind(), hookbox_driver::FaultKind::Contention);
                        store.rollback(tx).await;
                    }
                }
            };
            assert!(
                matches!(claimed, Claimed::Fresh | Claimed::Duplicate),
                "{claimed:?}"
            );
            fresh
        };
        let (a, b) = tokio::join!(run(&left, 1), run(&right, 2));
        assert_eq!(
            a + b,
            1,
            "exactly one of the two concurrent claims must be fresh"
        );
    }
    assert_eq!(world.effects("raced").await, u64::from(RACES));
    assert_eq!(left.imbalances(10).await.expect("read"), []);
    Store::close(&*left).await;
    Store::close(&*right).await;
}

/// Checks two batches with the same events in opposite orders. They do not deadlock, because the
/// store takes the claims of a batch in the order of their keys.
pub async fn opposite_orders_do_not_deadlock<H: StoreHarness>(world: &H) {
    let (left, right) = (world.open().await, world.open().await);
    let run = async |store: &H::Store, reversed: bool| {
        for round in 0..10 {
            let mut envelopes: Vec<_> = (0..16)
                .map(|number| of_number(round * 16 + number))
                .collect();
            if reversed {
                envelopes.reverse();
            }
            let borrowed: Vec<_> = envelopes.iter().collect();
            let mut tx = store.begin().await.expect("begun");
            let claimed = store
                .claim(&mut tx, &one(), &borrowed)
                .await
                .expect("the two transactions must not deadlock");
            let settled: Vec<_> = envelopes
                .iter()
                .zip(&claimed)
                .filter(|(_, claimed)| **claimed == Claimed::Fresh)
                .map(|(envelope, _)| hookbox_driver::ReceiptOutcome {
                    envelope,
                    outcome: Outcome::Done { attempt: 1 },
                    other_digest: None,
                })
                .collect();
            store
                .settle(&mut tx, &one(), &settled)
                .await
                .expect("settled");
            store.commit(tx).await.expect("committed");
        }
    };
    tokio::join!(run(&left, false), run(&right, true));
    Store::close(&*left).await;
    Store::close(&*right).await;
}
