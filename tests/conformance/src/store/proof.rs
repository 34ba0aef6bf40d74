//! The promises of a store for `prove`, the check after a handler has run: what it detects, and
//! what it reverts.

use hookbox_driver::{
    Claimed, CommitError, DeadFilter, DeadReason, Failure, FailureClass, Ledger, Outcome,
    ReceiptOutcome, Recorded, Store, Then,
};
use hookbox_event::{Envelope, RouteName};

use super::{claim, done, finish, probe};
use crate::envelope;
use crate::harness::{StoreHarness, one};

/// Begins a transaction for a handler, and claims an event in it.
async fn claimed<S: Store>(store: &S, of: &Envelope) -> S::Tx {
    let mut tx = store.begin_for_handler().await.expect("begun");
    assert_eq!(claim(store, &mut tx, of).await, Claimed::Fresh);
    tx
}

/// Checks an event whose handler rolled back its own transaction. The handler must never run again,
/// because what it wrote after the rollback is committed.
pub async fn a_handler_that_rolls_back_is_never_run_again<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let event = envelope("a");
    let mut tx = claimed(&*store, &event).await;
    H::effect(store.connection(&mut tx), "before").await;
    H::roll_back_raw(store.connection(&mut tx)).await;
    H::effect(store.connection(&mut tx), "after").await;
    let proof = store.prove(&mut tx).await;
    assert!(
        matches!(proof, Err(CommitError::EndedByHandler { .. })),
        "{proof:?}"
    );
    store.rollback(tx).await;
    assert_eq!(world.effects("before").await, 0);
    assert_eq!(world.effects("after").await, 1);
    let route = one();
    let failure = orphan(&route, &event);
    assert_eq!(
        store.fail(&failure).await.expect("kept"),
        Recorded::Recorded
    );
    assert_eq!(probe(&*store, &event).await, Claimed::Redelivered);
    let dead = store.dead_list(&DeadFilter::default(), 0, 9).await;
    let dead = dead.expect("read");
    assert_eq!((dead.len(), dead[0].reason), (1, DeadReason::Orphaned));
    assert_eq!(dead[0].attempts, 1);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

fn orphan<'a>(route: &'a RouteName, event: &'a Envelope) -> Failure<'a> {
    Failure {
        route,
        envelope: event,
        attempt: 1,
        attempts_before: 0,
        other_digest: None,
        class: FailureClass::BrokeTransaction,
        error: "it rolled back".into(),
        took: std::time::Duration::ZERO,
        then: Then::Dead {
            reason: DeadReason::Orphaned,
        },
        is_expired_deferral: false,
    }
}

/// Checks which events may run again. If an error aborted the transaction, its event may. If the
/// handler ended the transaction, its event may not, even if an error followed.
pub async fn an_ended_transaction_is_distinguished_from_an_error<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for (end, name) in [(false, "error"), (true, "end")] {
        let event = envelope(name);
        let mut tx = claimed(&*store, &event).await;
        if end {
            H::commit_raw(store.connection(&mut tx)).await;
            H::effect(store.connection(&mut tx), name).await;
        }
        H::spoil(store.connection(&mut tx)).await;
        let proof = store.prove(&mut tx).await;
        let found_out = match proof {
            Err(CommitError::EndedByHandler { .. }) => end,
            Err(CommitError::BrokenByHandler { .. }) => !end,
            Ok(()) | Err(CommitError::Fault(_)) => false,
        };
        assert!(found_out, "{name}: {proof:?}");
        store.rollback(tx).await;
        assert_eq!(world.effects(name).await, u64::from(end));
    }
    Store::close(&*store).await;
}

/// Checks that a handler may use savepoints of its own.
pub async fn a_savepoint_of_the_handlers_is_its_own<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let event = envelope("a");
    let mut tx = claimed(&*store, &event).await;
    H::effect(store.connection(&mut tx), "kept").await;
    H::undo_to_savepoint(store.connection(&mut tx), "undone").await;
    store.prove(&mut tx).await.expect("proved");
    let settled = [ReceiptOutcome {
        envelope: &event,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    }];
    let settling = store.settle(&mut tx, &one(), &settled).await;
    settling.expect("settled");
    store.commit(tx).await.expect("committed");
    assert_eq!(world.effects("kept").await, 1);
    assert_eq!(world.effects("undone").await, 0);
    Store::close(&*store).await;
}

/// Checks a handler that changes its session. The change must count as a failure of the handler. If
/// it counted as a fault of the store, hookbox would wait until the fault is over.
pub async fn a_changed_session_is_no_commit<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let event = envelope("a");
    let mut tx = claimed(&*store, &event).await;
    H::effect(store.connection(&mut tx), "a").await;
    H::change_session(store.connection(&mut tx)).await;
    let proof = store.prove(&mut tx).await;
    assert!(
        matches!(proof, Err(CommitError::BrokenByHandler { .. })),
        "{proof:?}"
    );
    store.rollback(tx).await;
    assert_eq!(world.effects("a").await, 0);
    assert_eq!(probe(&*store, &event).await, Claimed::Fresh);
    done(&*store, &event).await;
    Store::close(&*store).await;
}

/// Checks that no handler finds what an earlier handler left in the session, in the same
/// transaction or in the next one.
pub async fn a_session_is_new_for_the_next_handler<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for name in ["first", "second"] {
        let event = envelope(name);
        let mut tx = claimed(&*store, &event).await;
        for run in ["one", "another"] {
            let connection = store.connection(&mut tx);
            assert!(!H::finds_left_behind(connection).await, "{name}: {run}");
            H::leave_behind(connection).await;
            assert!(H::finds_left_behind(connection).await, "{name}: {run}");
            store.prove(&mut tx).await.expect("proved");
        }
        // The last handler of a transaction leaves something behind, which the next transaction
        // must not find.
        let settled = [ReceiptOutcome {
            envelope: &event,
            outcome: Outcome::Done { attempt: 1 },
            other_digest: None,
        }];
        let settling = store.settle(&mut tx, &one(), &settled).await;
        settling.expect("settled");
        store.commit(tx).await.expect("committed");
    }
    Store::close(&*store).await;
}

/// Checks that no handler finds what a handler left in the session before it returned an error,
/// whether a statement had failed or not.
pub async fn a_session_is_new_after_a_failed_attempt<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for (has_failed_statement, name) in [(true, "statement"), (false, "error")] {
        let event = envelope(name);
        for attempt in ["first", "second"] {
            let mut tx = claimed(&*store, &event).await;
            let connection = store.connection(&mut tx);
            assert!(!H::finds_left_behind(connection).await, "{name}: {attempt}");
            H::leave_behind(connection).await;
            H::effect(connection, name).await;
            if has_failed_statement {
                H::spoil(connection).await;
            }
            let proof = store.prove(&mut tx).await;
            assert_eq!(proof.is_err(), has_failed_statement, "{name}: {proof:?}");
            store.rollback_failed(tx).await;
            assert_eq!(world.effects(name).await, 0, "{name}: {attempt}");
        }
        let mut tx = claimed(&*store, &event).await;
        let connection = store.connection(&mut tx);
        assert!(!H::finds_left_behind(connection).await, "{name}: third");
        finish(&*store, tx, &event, Outcome::Done { attempt: 1 }).await;
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}
