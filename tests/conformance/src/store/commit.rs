//! The promises of a store for commits: effects and outcome are committed together, or not at all.

use hookbox_driver::{Claimed, CommitError, Outcome, ReceiptOutcome, Store};

use super::{claim, finish, probe};
use crate::envelope;
use crate::harness::{StoreHarness, one};

pub async fn a_rollback_frees_the_claim<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    H::effect(store.connection(&mut tx), "a").await;
    store.rollback(tx).await;
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Fresh);
    assert_eq!(world.effects("a").await, 0);
    Store::close(&*store).await;
}

pub async fn a_dropped_transaction_rolls_back<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    H::effect(store.connection(&mut tx), "a").await;
    drop(tx);
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Fresh);
    assert_eq!(world.effects("a").await, 0);
    Store::close(&*store).await;
}

pub async fn effects_and_claim_appear_together<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    H::effect(store.connection(&mut tx), "a").await;
    assert_eq!(
        world.effects("a").await,
        0,
        "no effect may be visible before the commit"
    );
    finish(&*store, tx, &envelope("a"), Outcome::Done { attempt: 1 }).await;
    assert_eq!(world.effects("a").await, 1);
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Redelivered);
    Store::close(&*store).await;
}

/// H9: when a transaction was aborted, PostgreSQL answers its commit with a rollback and reports no
/// error. Checks that the store does not take this for a commit.
pub async fn a_swallowed_error_is_no_commit<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    H::effect(store.connection(&mut tx), "a").await;
    H::spoil(store.connection(&mut tx)).await;
    broken(&*store, tx).await;
    assert_eq!(world.effects("a").await, 0);
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Fresh);
    Store::close(&*store).await;
}

pub async fn a_handler_that_ends_the_transaction_is_detected<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    H::effect(store.connection(&mut tx), "a").await;
    H::commit_raw(store.connection(&mut tx)).await;
    ended(&*store, tx).await;
    // The effects of the handler are committed, so the handler must never run again.
    assert_eq!(world.effects("a").await, 1);
    assert_eq!(probe(&*store, &envelope("a")).await, Claimed::Orphaned);
    Store::close(&*store).await;
}

/// Checks that settling or committing detects a transaction that the handler broke.
async fn broken<S: Store>(store: &S, tx: S::Tx) {
    let answer = settle_and_commit(store, tx).await;
    assert!(
        matches!(answer, Err(CommitError::BrokenByHandler { .. })),
        "{answer:?}"
    );
}

/// Checks that settling or committing detects a transaction that the handler ended.
async fn ended<S: Store>(store: &S, tx: S::Tx) {
    let answer = settle_and_commit(store, tx).await;
    assert!(
        matches!(answer, Err(CommitError::EndedByHandler { .. })),
        "{answer:?}"
    );
}

async fn settle_and_commit<S: Store>(store: &S, mut tx: S::Tx) -> Result<(), CommitError> {
    let of = envelope("a");
    let settled = [ReceiptOutcome {
        envelope: &of,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    }];
    match store.settle(&mut tx, &one(), &settled).await {
        Ok(()) => store.commit(tx).await,
        Err(error) => {
            store.rollback(tx).await;
            Err(error)
        }
    }
}
