//! Transactions: what a successful commit proves, and that a failed or cancelled transaction
//! affects no other.

use std::future::Future;

use super::*;
use hookbox_driver::{CommitError, FaultKind, Ledger};

#[tokio::test]
async fn effects_and_claim_appear_together() {
    let world = World::new();
    let store = world.open().await;
    world.execute(MAKE_EFFECTS).await;
    let one = envelope(1);
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
    assert_eq!(claimed, [Claimed::Fresh]);
    effect(&store, &mut tx, 1).await.unwrap();
    store
        .settle(&mut tx, &route("a"), &[done(&one)])
        .await
        .unwrap();
    let both = "select (select count(*) from effects) * 10
                     + (select count(*) from claims where state = 'done')";
    assert_eq!(world.number(both).await, 0);
    store.commit(tx).await.unwrap();
    assert_eq!(world.number(both).await, 11);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn rolled_back_or_dropped_nothing_stays() {
    let world = World::new();
    let store = world.open().await;
    world.execute(MAKE_EFFECTS).await;
    for dropped in [false, true] {
        let mut tx = store.begin().await.unwrap();
        let one = envelope(1);
        let claimed = store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
        assert_eq!(claimed, [Claimed::Fresh], "dropped: {dropped}");
        effect(&store, &mut tx, 1).await.unwrap();
        store
            .settle(&mut tx, &route("a"), &[done(&one)])
            .await
            .unwrap();
        if dropped {
            drop(tx);
        } else {
            store.rollback(tx).await;
        }
    }
    assert_eq!(
        process(&store, "a", &[&envelope(1)]).await,
        [Claimed::Fresh]
    );
    assert_eq!(world.number("select count(*) from effects").await, 0);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_handlers_own_nested_transaction_is_a_savepoint() {
    let world = World::new();
    let store = world.open().await;
    world.execute(MAKE_EFFECTS).await;
    let one = envelope(1);
    let mut tx = store.begin().await.unwrap();
    store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
    for (n, commit) in [(1, true), (2, false)] {
        let mut nested = store.connection(&mut tx).begin().await.unwrap();
        sqlx::query("insert into effects values (?1)")
            .bind(n)
            .execute(&mut *nested)
            .await
            .unwrap();
        if commit {
            nested.commit().await.unwrap();
        }
    }
    store
        .settle(&mut tx, &route("a"), &[done(&one)])
        .await
        .unwrap();
    store.commit(tx).await.unwrap();
    assert_eq!(world.number("select sum(n) from effects").await, 1);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_swallowed_statement_error_leaves_the_rest_whole() {
    // SQLite reverts only the failed statement. PostgreSQL would abort the whole transaction. So
    // here the transaction may commit.
    let world = World::new();
    let store = world.open().await;
    world.execute(MAKE_EFFECTS).await;
    let one = envelope(1);
    let mut tx = store.begin().await.unwrap();
    store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
    effect(&store, &mut tx, 1).await.unwrap();
    let error = effect(&store, &mut tx, 1).await.unwrap_err();
    assert_eq!(
        store.diagnose(&error),
        None,
        "a violated constraint must count as a failure of the handler"
    );
    store
        .settle(&mut tx, &route("a"), &[done(&one)])
        .await
        .unwrap();
    store.commit(tx).await.unwrap();
    assert_eq!(world.number("select count(*) from effects").await, 1);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_claim_without_an_outcome_is_not_committed() {
    let world = World::new();
    let store = world.open().await;
    let mut tx = store.begin().await.unwrap();
    store
        .claim(&mut tx, &route("a"), &[&envelope(1)])
        .await
        .unwrap();
    let CommitError::Fault(fault) = store.commit(tx).await.unwrap_err() else {
        panic!("committing a claim without an outcome must return a fault");
    };
    assert_eq!(fault.kind(), FaultKind::Internal);
    let mut tx = store.begin().await.unwrap();
    let error = store
        .settle(&mut tx, &route("a"), &[done(&envelope(1))])
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Fault(_)), "{error}");
    drop(tx);
    assert_eq!(would_claim(&store, "a", &envelope(1)).await, Claimed::Fresh);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_busy_lock_is_contention() {
    let world = World::new();
    let store = world
        .open_with(|options| {
            impatient(options);
            options.writer_wait = Duration::from_millis(100);
        })
        .await;
    let lock = world.lock().await;
    let fault = store.begin().await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Contention);
    assert_eq!(store.diagnose(&fault), Some(FaultKind::Contention));
    // Reads must succeed while another process holds the write lock.
    store.ping().await.unwrap();
    store.books().await.unwrap();
    lock.close().await.unwrap();
    // A call must also fail with contention when it waits too long for another transaction of this
    // process, while no other process holds the write lock.
    let tx = store.begin().await.unwrap();
    let fault = store.begin().await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Contention);
    store.rollback(tx).await;
    assert_eq!(
        process(&store, "a", &[&envelope(1)]).await,
        [Claimed::Fresh]
    );
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_cancelled_unit_of_work_affects_no_other() {
    let world = World::new();
    let store = world.open().await;
    world.execute(MAKE_EFFECTS).await;
    // Each pass of the loop drops the transaction after one more poll, so that it is cancelled at
    // each of its `await` points in turn.
    for polls in 0..60 {
        let one = envelope(1);
        let unit = async {
            let mut tx = store.begin().await.unwrap();
            store.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
            effect(&store, &mut tx, 1).await.unwrap();
            std::future::pending::<()>().await;
        };
        let mut unit = Box::pin(unit);
        let mut left = polls;
        std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(());
            }
            left -= 1;
            // The waker is called at once, so that the future is polled again without waiting for
            // anything.
            context.waker().wake_by_ref();
            let _ = unit.as_mut().poll(context);
            std::task::Poll::Pending
        })
        .await;
        drop(unit);
        // This write must succeed after the cancelled transaction, and must be in the file.
        store.audit("test", "look", "nothing").await.unwrap();
        let rows = world.number("select count(*) from audit").await;
        assert_eq!(rows, polls + 1, "after {polls} polls");
        assert_eq!(world.number("select count(*) from effects").await, 0);
    }
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn an_endless_statement_ends_with_its_transaction() {
    let world = World::new();
    let store = world.open().await;
    let mut tx = store.begin().await.unwrap();
    let endless = sqlx::query(
        "with recursive n (i) as (select 1 union all select i + 1 from n)
         select count(*) from n",
    )
    .execute(store.connection(&mut tx));
    assert!(timeout(Duration::from_millis(50), endless).await.is_err());
    drop(tx);
    let again = async || store.begin().await.is_ok();
    eventually(
        "a new transaction must begin after the one with the endless statement was dropped",
        again,
    )
    .await;
    close(store).await;
    world.end().await;
}
