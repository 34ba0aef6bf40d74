//! The promises of a store for a failed attempt, and for what follows from the failure.

use bytes::Bytes;
use hookbox_driver::{
    ClaimState, Claimed, DeadFilter, DeadReason, Ledger, Outcome, Recorded, Store,
    UndecodableMessage,
};
use hookbox_event::Digester;

use super::{DEAD, LATER, NOW, claim, done, fail, finish, probe};
use crate::harness::{StoreHarness, one};
use crate::{another_body, envelope, of_number, with_receipt};

pub async fn a_failed_attempt_and_its_retry_appear_together<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(
        fail(&*store, &envelope("a"), 1, LATER).await,
        Recorded::Recorded
    );
    let id = envelope("a").event.to_string();
    let event = store
        .event(&id)
        .await
        .expect("read")
        .expect("the event must exist");
    assert_eq!(event.claims[0].state, ClaimState::Retrying);
    assert_eq!((event.attempts.len(), event.attempts[0].attempt), (1, 1));
    assert_eq!(event.attempts[0].error.as_deref(), Some("it did not work"));
    assert_eq!((event.retries.len(), event.retries[0].attempt), (1, 2));
    assert_eq!(event.receipts[0].outcome, "retrying");
    assert_eq!(event.body, envelope("a").body);
    assert_eq!(
        probe(&*store, &with_receipt("a", 2)).await,
        Claimed::Duplicate
    );
    Store::close(&*store).await;
}

pub async fn a_failed_attempt_and_its_dead_letter_appear_together<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(
        fail(&*store, &envelope("a"), 1, DEAD).await,
        Recorded::Recorded
    );
    let dead = store
        .dead_list(&DeadFilter::default(), 0, 10)
        .await
        .expect("read");
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].reason, dead[0].attempts),
        (DeadReason::Exhausted, 1)
    );
    let dead_letter = store
        .dead_show(dead[0].id)
        .await
        .expect("read")
        .expect("the dead letter must exist");
    assert_eq!(dead_letter.history.body, envelope("a").body);
    assert_eq!(dead_letter.history.attempts.len(), 1);
    assert!(dead_letter.history.retries.is_empty());
    assert_eq!(dead_letter.history.receipts[0].outcome, "dead");
    Store::close(&*store).await;
}

/// Checks an event whose handler ended its own transaction while it processed the first body of the
/// event. The effects of that run may be committed. Then a receipt of the event with another body
/// fails. That other body must not become the stored body of the event.
pub async fn an_orphan_takes_no_other_body<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    H::commit_raw(store.connection(&mut tx)).await;
    drop(tx);
    let other = another_body("a", 2);
    // This failure is not recorded, because the event of the receipt is in another state now. The
    // next claim of the receipt returns a conflict.
    let failed = fail(&*store, &other, 1, LATER).await;
    assert_eq!(failed, Recorded::Superseded);
    assert_eq!(probe(&*store, &other).await, Claimed::Conflict);
    let id = envelope("a").event.to_string();
    let event = store
        .event(&id)
        .await
        .expect("read")
        .expect("the event must exist");
    assert_eq!(event.claims[0].state, ClaimState::Running);
    assert_eq!((event.receipts.len(), event.attempts.len()), (0, 0));
    // `DEAD` names another reason. But the effects of the handler are committed, so the event
    // becomes a dead letter with the reason `Orphaned`.
    assert_eq!(
        fail(&*store, &envelope("a"), 1, DEAD).await,
        Recorded::Recorded
    );
    let filter = DeadFilter {
        reason: Some(DeadReason::Orphaned),
        ..DeadFilter::default()
    };
    let dead = store.dead_list(&filter, 0, 10).await.expect("read");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].event, envelope("a").event);
    Store::close(&*store).await;
}

pub async fn a_failure_recorded_twice_counts_once<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(
        fail(&*store, &envelope("a"), 1, LATER).await,
        Recorded::Recorded
    );
    assert_eq!(
        fail(&*store, &envelope("a"), 1, LATER).await,
        Recorded::Superseded
    );
    assert_eq!(
        fail(&*store, &envelope("a"), 1, DEAD).await,
        Recorded::Superseded
    );
    let id = envelope("a").event.to_string();
    let event = store
        .event(&id)
        .await
        .expect("read")
        .expect("the event must exist");
    assert_eq!((event.attempts.len(), event.claims[0].attempts), (1, 1));
    assert_eq!(
        store
            .dead_count(&DeadFilter::default())
            .await
            .expect("read"),
        0
    );
    Store::close(&*store).await;
}

pub async fn undecodable_bytes_are_kept_once<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (route, bytes) = (one(), Bytes::from_static(b"\x00not an envelope\xff"));
    let reason = DeadReason::Undecodable;
    let undecodable = UndecodableMessage::new(&Digester::Plain, &route, &bytes, reason, "no mark");
    assert_eq!(
        store.store_undecodable(&undecodable).await.expect("kept"),
        Recorded::Recorded
    );
    assert_eq!(
        store.store_undecodable(&undecodable).await.expect("kept"),
        Recorded::Superseded
    );
    let dead = store
        .dead_list(&DeadFilter::default(), 0, 10)
        .await
        .expect("read");
    assert_eq!((dead.len(), dead[0].reason), (1, DeadReason::Undecodable));
    let dead_letter = store
        .dead_show(dead[0].id)
        .await
        .expect("read")
        .expect("the dead letter must exist");
    assert_eq!(dead_letter.history.body, bytes);
    assert!(store.imbalances(10).await.expect("read").is_empty());
    Store::close(&*store).await;
}

/// Checks that a dead letter without a receipt is never replayed, whatever its reason is. After a
/// replay its event would wait for a retry, and without a receipt no retry can be published. Such a
/// dead letter can be discarded and restored.
pub async fn a_dead_letter_without_a_receipt_is_not_replayed<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (route, bytes) = (
        one(),
        Bytes::from_static(b"a message that the broker gave up on"),
    );
    let undecodable = UndecodableMessage::new(
        &Digester::Plain,
        &route,
        &bytes,
        DeadReason::DeliveryLimit,
        "delivered too often",
    );
    let stored = store.store_undecodable(&undecodable).await;
    assert_eq!(stored.expect("stored"), Recorded::Recorded);
    let all = DeadFilter::default();
    let replayed = store.dead_replay(&all, 9, "ann").await;
    assert_eq!(replayed.expect("replayed"), 0);
    assert_eq!(store.dead_count(&all).await.expect("counted"), 1);
    let discarded = store.dead_discard(&all, 9, "ann").await;
    assert_eq!(discarded.expect("discarded"), 1);
    let restored = store.dead_restore(&all, 9, "ann").await;
    assert_eq!(restored.expect("restored"), 1);
    Store::close(&*store).await;
}

/// Checks that the sums in the accounting are right. The store has at least one receipt of each
/// outcome.
pub async fn the_accounting_balances<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for number in 0..3 {
        done(&*store, &of_number(number)).await;
    }
    let again = {
        let mut again = of_number(0);
        let other = with_receipt("again", 9);
        (again.receipt, again.number) = (other.receipt, other.number);
        again
    };
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &again).await, Claimed::Duplicate);
    finish(&*store, tx, &again, Outcome::Duplicate).await;
    done(&*store, &envelope("c")).await;
    let mut conflict = another_body("c", 2);
    assert_eq!(probe(&*store, &conflict).await, Claimed::Conflict);
    conflict.event =
        hookbox_event::EventId::of_conflict(&Digester::Plain, &conflict.event, &conflict.digest);
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &conflict).await, Claimed::Fresh);
    let detail = "another body".to_owned();
    finish(&*store, tx, &conflict, Outcome::Conflict { detail }).await;
    fail(&*store, &envelope("r"), 1, NOW).await;
    fail(&*store, &envelope("d"), 1, DEAD).await;
    let books = store.books().await.expect("read");
    let [books] = &books[..] else {
        panic!("expected exactly one route: {books:?}")
    };
    assert_eq!(books.route, one());
    let counts = (
        books.done,
        books.duplicate,
        books.conflict,
        books.retrying,
        books.dead,
    );
    assert_eq!(counts, (4, 1, 1, 1, 1));
    assert_eq!(books.receipts(), 8);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}
