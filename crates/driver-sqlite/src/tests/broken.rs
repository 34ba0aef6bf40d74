//! Handlers that break their transaction or end it themselves. hookbox must detect this, and must
//! never run a handler again whose effects are committed.

use super::*;
use hookbox_driver::{ClaimState, CommitError, DeadReason, EventFilter, Ledger};

/// Returns `true` when the error says that a handler has ended its transaction, so that its effects
/// are committed, and `false` when it says that a handler has broken its transaction.
#[track_caller]
fn has_ended(error: &CommitError) -> bool {
    match error {
        CommitError::EndedByHandler { .. } => true,
        CommitError::BrokenByHandler { .. } => false,
        CommitError::Fault(fault) => {
            panic!("expected an error of the handler, got a fault: {fault:?}")
        }
    }
}

#[tokio::test]
async fn a_handler_that_ends_the_transaction_is_detected() {
    // Each case has the statements by which the handler ends its transaction, and whether they
    // commit the claim. A claim that they commit has no outcome, so the event is orphaned.
    for (ends, orphaned) in [
        ("commit", true),
        ("commit; begin", true),
        ("commit; begin immediate; savepoint other", true),
        ("rollback", false),
        ("rollback; begin", false),
        // `OR ROLLBACK` rolls back the whole transaction, and the handler ignores the error.
        ("insert or rollback into effects values (7), (7)", false),
    ] {
        let world = World::new();
        let store = world.open().await;
        world.execute(MAKE_EFFECTS).await;
        let one = envelope(1);
        let mut tx = store.begin().await.unwrap();
        store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
        effect(&store, &mut tx, 1).await.unwrap();
        let _ = sqlx::raw_sql(ends).execute(store.connection(&mut tx)).await;
        let error = store
            .settle(&mut tx, &route("a"), &[done(&one)])
            .await
            .unwrap_err();
        assert_eq!(has_ended(&error), orphaned, "{ends}: {error}");
        store.rollback(tx).await;
        assert_eq!(
            world.number("select count(*) from receipts").await,
            0,
            "{ends}"
        );
        let expect = if orphaned {
            Claimed::Orphaned
        } else {
            Claimed::Fresh
        };
        assert_eq!(would_claim(&store, "a", &one).await, expect, "{ends}");
        assert_eq!(
            world.number("select count(*) from effects").await,
            i64::from(orphaned)
        );
        // The worker records the failure with a retry. If the event is orphaned, the store must
        // make it a dead letter instead, because its handler must not run again after its effects
        // were committed.
        let then = Then::Retry {
            after: Duration::ZERO,
        };
        assert_eq!(fail(&store, &one, 1, then).await, Recorded::Recorded);
        let rows = store
            .events(&EventFilter::default(), None, 10)
            .await
            .unwrap();
        let expect = if orphaned {
            ClaimState::Dead
        } else {
            ClaimState::Retrying
        };
        assert_eq!(rows[0].state, expect, "{ends}");
        if orphaned {
            let dead_letters = store.dead_list(&Default::default(), 0, 10).await.unwrap();
            assert_eq!(dead_letters[0].reason, DeadReason::Orphaned);
        }
        assert_eq!(store.imbalances(10).await.unwrap(), []);
        close(store).await;
        world.end().await;
    }
}

#[tokio::test]
async fn a_retry_that_ends_its_transaction_is_an_orphan_too() {
    let world = World::new();
    let store = world.open().await;
    let then = Then::Retry {
        after: Duration::ZERO,
    };
    fail(&store, &envelope(1), 1, then).await;
    let retry = requeue(&store).await.remove(0).envelope;
    let mut tx = store.begin().await.unwrap();
    store.claim(&mut tx, &route("a"), &[&retry]).await.unwrap();
    sqlx::raw_sql("commit")
        .execute(store.connection(&mut tx))
        .await
        .unwrap();
    store.rollback(tx).await;
    assert_eq!(would_claim(&store, "a", &retry).await, Claimed::Orphaned);
    assert_eq!(
        store.imbalances(10).await.unwrap().len(),
        3,
        "expected one contradiction each for the running claim, its retry and its receipt"
    );
    // A worker that finds the orphaned event does not know how often it was tried, so it passes 1
    // as the number of the attempt. The store must count the attempt as the second, because it has
    // recorded a first one.
    let then = Then::Dead {
        reason: DeadReason::Orphaned,
    };
    assert_eq!(fail(&store, &retry, 1, then).await, Recorded::Recorded);
    let event = store
        .event(&retry.event.to_string())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(event.claims[0].state, ClaimState::Dead);
    assert_eq!((event.claims[0].attempts, event.attempts.len()), (2, 2));
    assert_eq!(event.retries.len(), 0);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_transaction_ended_after_settling_is_found_out_by_the_commit() {
    for ends in [
        "commit",
        "commit; begin",
        "rollback",
        "rollback; begin immediate",
    ] {
        let world = World::new();
        let store = world.open().await;
        let one = envelope(1);
        let mut tx = store.begin().await.unwrap();
        store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
        store
            .settle(&mut tx, &route("a"), &[done(&one)])
            .await
            .unwrap();
        sqlx::raw_sql(ends)
            .execute(store.connection(&mut tx))
            .await
            .unwrap();
        let error = store.commit(tx).await.unwrap_err();
        let committed = ends.starts_with("commit");
        assert_eq!(has_ended(&error), committed, "{ends}");
        // A handler that commits after `settle` commits the outcome together with the claim, so the
        // event is not orphaned.
        let expect = if committed {
            Claimed::Redelivered
        } else {
            Claimed::Fresh
        };
        assert_eq!(would_claim(&store, "a", &one).await, expect, "{ends}");
        assert_eq!(store.imbalances(10).await.unwrap(), [], "{ends}");
        close(store).await;
        world.end().await;
    }
}

#[tokio::test]
async fn a_claim_that_the_handler_has_changed_is_no_commit() {
    let world = World::new();
    let store = world.open().await;
    for change in [
        "update claims set state = 'running'",
        "update claims set state = 'dead'",
        "update claims set attempts = 7",
    ] {
        let one = envelope(1);
        let mut tx = store.begin().await.unwrap();
        store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
        sqlx::raw_sql(change)
            .execute(store.connection(&mut tx))
            .await
            .unwrap();
        store
            .settle(&mut tx, &route("a"), &[done(&one)])
            .await
            .unwrap();
        let error = store.commit(tx).await.unwrap_err();
        assert!(
            matches!(error, CommitError::BrokenByHandler { .. }),
            "{change}: {error}"
        );
        assert_eq!(would_claim(&store, "a", &one).await, Claimed::Fresh);
    }
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_deferred_constraint_is_the_handlers_failure() {
    let world = World::new();
    let store = world.open().await;
    world
        .execute(
            "create table parents (n integer primary key) strict;
             create table children (n integer
                 references parents (n) deferrable initially deferred) strict",
        )
        .await;
    let one = envelope(1);
    let mut tx = store.begin().await.unwrap();
    store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
    sqlx::query("insert into children values (1)")
        .execute(store.connection(&mut tx))
        .await
        .unwrap();
    store
        .settle(&mut tx, &route("a"), &[done(&one)])
        .await
        .unwrap();
    let error = store.commit(tx).await.unwrap_err();
    assert!(
        matches!(error, CommitError::BrokenByHandler { .. }),
        "{error}"
    );
    assert_eq!(would_claim(&store, "a", &one).await, Claimed::Fresh);
    close(store).await;
    world.end().await;
}
