//! The promises of a store for savepoints, which undo the writes of a handler but not the claims,
//! and for the withdrawal of a claim.

use hookbox_driver::{Claimed, CommitError, FaultKind, Ledger, Outcome, Store};
use hookbox_event::{Envelope, Redo};

use super::race::work;
use super::{NOW, claim, done, fail, finish, probe};
use crate::harness::{StoreHarness, one};
use crate::{envelope, with_receipt};

/// Begins a transaction for a trusted or an untrusted handler, and claims an event in it.
async fn claimed<S: Store>(store: &S, is_trusted: bool, of: &Envelope) -> S::Tx {
    let begun = if is_trusted {
        store.begin().await
    } else {
        store.begin_for_handler().await
    };
    let mut tx = begun.expect("begun");
    assert_eq!(claim(store, &mut tx, of).await, Claimed::Fresh);
    tx
}

pub async fn undone_writes_are_gone_and_claims_stay<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for (is_trusted, name) in [(true, "trusted"), (false, "not-trusted")] {
        let event = envelope(name);
        let mut tx = claimed(&*store, is_trusted, &event).await;
        store.savepoint(&mut tx).await.expect("set");
        let (undone, kept) = (format!("undone-{name}"), format!("kept-{name}"));
        for _ in 0..3 {
            H::effect(store.connection(&mut tx), &undone).await;
            store.undo(&mut tx).await.expect("undone");
        }
        H::effect(store.connection(&mut tx), &kept).await;
        finish(&*store, tx, &event, Outcome::Done { attempt: 1 }).await;
        assert_eq!(world.effects(&undone).await, 0, "{name}");
        assert_eq!(world.effects(&kept).await, 1, "{name}");
        assert_eq!(probe(&*store, &event).await, Claimed::Redelivered);
        let again = probe(&*store, &with_receipt(name, 2)).await;
        assert_eq!(again, Claimed::Duplicate, "{name}");
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that an undo reverts only what was written after the last savepoint, even if the
/// transaction also has an earlier savepoint.
pub async fn only_what_follows_the_savepoint_is_undone<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for (is_trusted, name) in [(true, "trusted"), (false, "not-trusted")] {
        let event = envelope(name);
        let mut tx = claimed(&*store, is_trusted, &event).await;
        let keys = ["first", "second", "third"].map(|key| format!("{key}-{name}"));
        for key in &keys {
            store.savepoint(&mut tx).await.expect("set");
            H::effect(store.connection(&mut tx), key).await;
            if !is_trusted {
                store.prove(&mut tx).await.expect("proved");
            }
        }
        store.undo(&mut tx).await.expect("undone");
        finish(&*store, tx, &event, Outcome::Done { attempt: 1 }).await;
        for (key, expect) in keys.iter().zip([1, 1, 0]) {
            assert_eq!(world.effects(key).await, expect, "{key}");
        }
    }
    Store::close(&*store).await;
}

/// Checks that a failed statement can be undone. On PostgreSQL, its error aborts the transaction.
pub async fn a_failed_statement_is_undone<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for (is_trusted, name) in [(true, "trusted"), (false, "not-trusted")] {
        let event = envelope(name);
        let mut tx = claimed(&*store, is_trusted, &event).await;
        store.savepoint(&mut tx).await.expect("set");
        H::effect(store.connection(&mut tx), "undone").await;
        H::violate(store.connection(&mut tx)).await;
        if !is_trusted {
            // `prove` reports an error here on some databases and none on others. On no database
            // may it report that the handler has ended the transaction.
            let proof = store.prove(&mut tx).await;
            let is_whole = matches!(proof, Ok(()) | Err(CommitError::BrokenByHandler { .. }));
            assert!(is_whole, "{proof:?}");
        }
        store.undo(&mut tx).await.expect("undone");
        H::effect(store.connection(&mut tx), name).await;
        finish(&*store, tx, &event, Outcome::Done { attempt: 1 }).await;
        assert_eq!(world.effects(name).await, 1);
        assert_eq!(probe(&*store, &event).await, Claimed::Redelivered);
    }
    assert_eq!(world.effects("undone").await, 0);
    Store::close(&*store).await;
}

pub async fn a_session_is_new_after_an_undo<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let event = envelope("a");
    let mut tx = claimed(&*store, false, &event).await;
    store.savepoint(&mut tx).await.expect("set");
    for _ in 0..2 {
        let connection = store.connection(&mut tx);
        assert!(!H::finds_left_behind(connection).await);
        H::leave_behind(connection).await;
        assert!(H::finds_left_behind(connection).await);
        store.undo(&mut tx).await.expect("undone");
    }
    assert!(!H::finds_left_behind(store.connection(&mut tx)).await);
    store.prove(&mut tx).await.expect("proved");
    finish(&*store, tx, &event, Outcome::Done { attempt: 1 }).await;
    Store::close(&*store).await;
}

/// Checks a transaction that a handler has ended. No savepoint can be set in it, and nothing can be
/// undone. What the handler committed stays, so its event must not run again.
pub async fn an_ended_transaction_is_not_undone<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for is_trusted in [true, false] {
        for is_undo in [true, false] {
            let name = format!("a-{is_trusted}-{is_undo}");
            let event = envelope(&name);
            let mut tx = claimed(&*store, is_trusted, &event).await;
            store.savepoint(&mut tx).await.expect("set");
            H::effect(store.connection(&mut tx), &name).await;
            H::commit_raw(store.connection(&mut tx)).await;
            let answer = if is_undo {
                store.undo(&mut tx).await
            } else {
                store.savepoint(&mut tx).await
            };
            assert!(
                matches!(answer, Err(CommitError::EndedByHandler { .. })),
                "{name}: {answer:?}"
            );
            store.rollback(tx).await;
            assert_eq!(world.effects(&name).await, 1, "{name}");
            let again = probe(&*store, &event).await;
            assert_eq!(again, Claimed::Orphaned, "{name}");
        }
    }
    Store::close(&*store).await;
}

/// Takes a transaction that has claimed the first event. Claims the other event, withdraws the
/// claim of the first, settles the other, and commits.
async fn withdraw_one<S: Store>(store: &S, mut tx: S::Tx, first: &Envelope, other: &Envelope) {
    assert_eq!(claim(store, &mut tx, other).await, Claimed::Fresh);
    let events = [first.event];
    let withdrawn = store.withdraw(&mut tx, &one(), &events).await;
    withdrawn.expect("withdrawn");
    assert_eq!(store.number(&tx, &one(), &first.event), None);
    finish(store, tx, other, Outcome::Done { attempt: 1 }).await;
}

pub async fn a_withdrawn_event_is_fresh_after_the_commit<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (first, other) = (envelope("first"), envelope("other"));
    let tx = claimed(&*store, true, &first).await;
    withdraw_one(&*store, tx, &first, &other).await;
    assert_eq!(probe(&*store, &other).await, Claimed::Redelivered);
    assert_eq!(probe(&*store, &first).await, Claimed::Fresh);
    let books = store.books().await.expect("read");
    assert_eq!((books[0].done, books[0].receipts()), (1, 1));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    // The withdrawn event can fail in another transaction, as if it had never been claimed.
    fail(&*store, &first, 1, NOW).await;
    let retry = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..first
    };
    done(&*store, &retry).await;
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a retry still waits after its claim was withdrawn (`Store::withdraw`), and that its
/// attempt keeps its number.
pub async fn a_withdrawn_retry_waits_as_before<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (first, other) = (envelope("first"), envelope("other"));
    fail(&*store, &first, 1, NOW).await;
    let retry = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..first
    };
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 0,
    };
    let shown = async || {
        let event = store.event(&retry.event.to_string()).await.expect("read");
        event.expect("the event must exist")
    };
    let before = shown().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &retry).await, granted);
    withdraw_one(&*store, tx, &retry, &other).await;
    let after = shown().await;
    assert_eq!(
        format!("{:?}", (before.claims, before.retries, before.receipts)),
        format!("{:?}", (after.claims, after.retries, after.receipts)),
        "nothing that is stored of the event may have changed"
    );
    assert_eq!(probe(&*store, &retry).await, granted);
    done(&*store, &retry).await;
    assert_eq!(probe(&*store, &retry).await, Claimed::Redelivered);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a withdrawn event stays locked: no other transaction can claim it until the
/// transaction that has withdrawn it ends.
pub async fn a_withdrawn_claim_is_held_until_the_end<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let event = envelope("a");
    let mut tx = claimed(&*store, true, &event).await;
    let events = [event.event];
    let withdrawn = store.withdraw(&mut tx, &one(), &events).await;
    withdrawn.expect("withdrawn");
    match work::<H>(&elsewhere, &event, "a").await {
        Err(CommitError::Fault(fault)) => assert_eq!(fault.kind(), FaultKind::Contention),
        other => panic!("{other:?}"),
    }
    store.commit(tx).await.expect("committed");
    let worked = work::<H>(&elsewhere, &event, "a").await.expect("worked");
    assert_eq!(worked, Claimed::Fresh);
    assert_eq!(world.effects("a").await, 1);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that no claim is withdrawn after a handler has ended the transaction, because the effects
/// of this handler may be committed.
pub async fn an_ended_transaction_withdraws_nothing<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for is_trusted in [true, false] {
        let name = format!("a-{is_trusted}");
        let (event, other) = (envelope(&name), envelope(&format!("other-{is_trusted}")));
        let mut tx = claimed(&*store, is_trusted, &event).await;
        assert_eq!(claim(&*store, &mut tx, &other).await, Claimed::Fresh);
        H::effect(store.connection(&mut tx), &name).await;
        H::commit_raw(store.connection(&mut tx)).await;
        let events = [event.event];
        let answer = store.withdraw(&mut tx, &one(), &events).await;
        assert!(
            matches!(answer, Err(CommitError::EndedByHandler { .. })),
            "{name}: {answer:?}"
        );
        store.rollback(tx).await;
        for event in [&event, &other] {
            assert_eq!(probe(&*store, event).await, Claimed::Orphaned, "{name}");
        }
    }
    Store::close(&*store).await;
}
