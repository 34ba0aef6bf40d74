//! Tests of the guard, the last statement before a commit. A handler must not end its transaction
//! or change its claims. When it does, the guard must detect that, and the commit must fail.

use hookbox_driver::{Claimed, CommitError, FaultKind, Outcome, Store};
use sqlx::{Connection, Executor, PgConnection};

use crate::world::{World, add_effect, again, envelope};

const DONE: Outcome = Outcome::Done { attempt: 1 };

/// A closure that stands for a handler and uses its connection.
trait Handler: AsyncFnOnce(&mut PgConnection) {}
impl<F: AsyncFnOnce(&mut PgConnection)> Handler for F {}

/// Runs a handler on event 1 as a worker does: claim, handler, settle, commit.
async fn run(world: &World, handler: impl Handler) -> Result<(), CommitError> {
    let envelope = envelope(1, 1, "{}");
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world.claim(&mut tx, &[&envelope]).await.unwrap();
    assert_eq!(claimed, [Claimed::Fresh]);
    handler(world.store.connection(&mut tx)).await;
    match world.settle(&mut tx, &envelope, DONE).await {
        Ok(()) => world.store.commit(tx).await,
        Err(error) => {
            world.store.rollback(tx).await;
            Err(error)
        }
    }
}

#[track_caller]
fn assert_broken(result: &Result<(), CommitError>) {
    assert!(
        matches!(result, Err(CommitError::BrokenByHandler { .. })),
        "{result:?}"
    );
}

#[track_caller]
fn assert_ended(result: &Result<(), CommitError>) {
    assert!(
        matches!(result, Err(CommitError::EndedByHandler { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_swallowed_error_is_no_commit() {
    let world = World::new().await;
    let result = run(&world, async |c| {
        add_effect(c, "swallowed").await;
        let _ = c.execute("select 1/0").await;
    })
    .await;
    assert_broken(&result);
    assert_eq!(world.effects("swallowed").await, 0);
    assert_eq!(world.peek(&envelope(1, 1, "{}")).await, Claimed::Fresh);
}

#[tokio::test]
async fn an_error_swallowed_after_settling_is_no_commit() {
    let world = World::new().await;
    let envelope = envelope(1, 1, "{}");
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&envelope]).await.unwrap();
    world.settle(&mut tx, &envelope, DONE).await.unwrap();
    let _ = world.store.connection(&mut tx).execute("select 1/0").await;
    assert_broken(&world.store.commit(tx).await);
    assert_eq!(world.peek(&envelope).await, Claimed::Fresh);
}

#[tokio::test]
async fn a_transaction_that_is_ended_after_settling_is_no_commit() {
    let world = World::new().await;
    let envelope = envelope(1, 1, "{}");
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&envelope]).await.unwrap();
    world.settle(&mut tx, &envelope, DONE).await.unwrap();
    let connection = world.store.connection(&mut tx);
    connection.execute("commit").await.unwrap();
    assert_ended(&world.store.commit(tx).await);
    assert_eq!(
        world.peek(&envelope).await,
        Claimed::Redelivered,
        "the outcome must be committed together with the claim"
    );
    world.assert_balanced().await;
}

/// Checks that the row of a first attempt's claim is written only once. An update would put the row
/// in another place of its page.
#[tokio::test]
async fn the_claim_of_a_first_attempt_is_written_once() {
    let world = World::new().await;
    run(&world, async |c| add_effect(c, "once").await)
        .await
        .unwrap();
    let first = "select count(*) from claims
                 where ctid = '(0,1)' and state = 'done' and attempts = 1 and settled_at is not null";
    assert_eq!(world.number(first).await, 1);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_claim_that_the_handler_has_changed_is_no_commit() {
    let world = World::new().await;
    for change in [
        "delete from claims",
        "update claims set state = 'running'",
        "update claims set attempts = 7",
        "update claims set route = 'another'",
    ] {
        let result = run(&world, async |c| {
            add_effect(c, "changed").await;
            c.execute(change).await.unwrap();
        })
        .await;
        assert_broken(&result);
        assert_eq!(world.effects("changed").await, 0, "{change}");
        assert_eq!(world.peek(&envelope(1, 1, "{}")).await, Claimed::Fresh);
    }
}

#[tokio::test]
async fn a_claim_that_was_changed_after_settling_is_no_commit() {
    let world = World::new().await;
    let envelope = envelope(1, 1, "{}");
    for change in ["delete from claims", "update claims set state = 'dead'"] {
        let mut tx = world.store.begin().await.unwrap();
        world.claim(&mut tx, &[&envelope]).await.unwrap();
        world.settle(&mut tx, &envelope, DONE).await.unwrap();
        let connection = world.store.connection(&mut tx);
        connection.execute(change).await.unwrap();
        assert_broken(&world.store.commit(tx).await);
        assert_eq!(world.peek(&envelope).await, Claimed::Fresh, "{change}");
    }
}

#[tokio::test]
async fn a_raw_commit_is_found_out_and_the_event_is_not_run_again() {
    let world = World::new().await;
    for ending in ["commit", "commit; begin", "commit and chain"] {
        let world = if ending == "commit" {
            &world
        } else {
            &World::new().await
        };
        let result = run(world, async |c| {
            add_effect(c, "committed").await;
            c.execute(sqlx::raw_sql(ending)).await.unwrap();
        })
        .await;
        assert_ended(&result);
        // The handler's own commit took effect. hookbox must have committed nothing of its own.
        assert_eq!(world.effects("committed").await, 1, "{ending}");
        assert_eq!(
            world.number("select count(*) from receipts").await,
            0,
            "{ending}"
        );
        assert_eq!(
            world.peek(&envelope(1, 1, "{}")).await,
            Claimed::Orphaned,
            "{ending}"
        );

        // The failure asks for a retry. But the effects of the handler are committed, so the
        // handler must not run again: the event must become a dead letter.
        world.fail(&envelope(1, 1, "{}"), 1, again()).await;
        let dead = "select count(*) from dead_letters where reason = 'orphaned'";
        assert_eq!(world.number(dead).await, 1, "{ending}");
        assert_eq!(
            world.number("select count(*) from retries").await,
            0,
            "{ending}"
        );
        assert_eq!(
            world.peek(&envelope(1, 1, "{}")).await,
            Claimed::Redelivered,
            "{ending}"
        );
        world.assert_balanced().await;
    }
}

#[tokio::test]
async fn a_raw_rollback_is_detected_and_nothing_of_ours_is_written() {
    for ending in ["rollback", "rollback; begin", "rollback and chain"] {
        let world = World::new().await;
        let result = run(&world, async |c| {
            c.execute(sqlx::raw_sql(ending)).await.unwrap();
        })
        .await;
        assert_ended(&result);
        for table in ["events", "claims", "receipts"] {
            let rows = world.number(&format!("select count(*) from {table}")).await;
            assert_eq!(rows, 0, "{ending}: {table}");
        }
        assert_eq!(
            world.peek(&envelope(1, 1, "{}")).await,
            Claimed::Fresh,
            "{ending}"
        );
    }
}

#[tokio::test]
async fn begin_in_a_handler_is_a_savepoint() {
    let world = World::new().await;
    let result = run(&world, async |c| {
        let mut kept = c.begin().await.unwrap();
        add_effect(&mut kept, "kept").await;
        kept.commit().await.unwrap();
        let mut undone = c.begin().await.unwrap();
        add_effect(&mut undone, "undone").await;
        undone.rollback().await.unwrap();
        let mut dropped = c.begin().await.unwrap();
        add_effect(&mut dropped, "dropped").await;
        let _ = dropped.execute("select 1/0").await;
    })
    .await;
    result.unwrap();
    assert_eq!(world.effects("kept").await, 1);
    assert_eq!(world.effects("undone").await, 0);
    assert_eq!(world.effects("dropped").await, 0);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_savepoint_that_is_left_open_is_no_commit() {
    let world = World::new().await;
    let result = run(&world, async |c| {
        let mut nested = c.begin().await.unwrap();
        add_effect(&mut nested, "left open").await;
        std::mem::forget(nested);
    })
    .await;
    assert_broken(&result);
    assert_eq!(world.effects("left open").await, 0);
}

#[tokio::test]
async fn a_deferred_constraint_that_breaks_at_the_commit_is_the_handlers() {
    let world = World::new().await;
    world
        .execute("create table strict (key int unique deferrable initially deferred)")
        .await;
    let result = run(&world, async |c| {
        c.execute("insert into strict values (1), (1)")
            .await
            .unwrap();
    })
    .await;
    assert_broken(&result);
    assert_eq!(world.peek(&envelope(1, 1, "{}")).await, Claimed::Fresh);
}

#[tokio::test]
async fn a_commit_that_would_not_be_durable_is_refused_and_not_inherited() {
    let world = World::with(|options| options.connections_max = 1).await;
    let result = run(&world, async |c| {
        c.execute("set synchronous_commit = off").await.unwrap();
    })
    .await;
    assert_broken(&result);
    let mut tx = world.store.begin().await.unwrap();
    let level: String = sqlx::query_scalar("show synchronous_commit")
        .fetch_one(world.store.connection(&mut tx))
        .await
        .unwrap();
    assert_eq!(level, "on");
    world.store.rollback(tx).await;
}

#[tokio::test]
async fn our_own_mistakes_are_faults_and_commit_nothing() {
    let world = World::new().await;
    let (claimed, other) = (envelope(1, 1, "{}"), envelope(2, 2, "{}"));
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&claimed]).await.unwrap();
    let unclaimed = world.settle(&mut tx, &other, DONE).await;
    let unsettled = world.store.commit(tx).await;
    for result in [unclaimed, unsettled] {
        let Err(CommitError::Fault(fault)) = &result else {
            panic!("{result:?}")
        };
        assert_eq!(fault.kind(), FaultKind::Internal);
    }
    assert_eq!(world.number("select count(*) from claims").await, 0);
}
