//! Tests of `Store::undo` after a handler that has changed its session.

use hookbox_driver::{CommitError, Outcome, Store};
use sqlx::Executor;

use crate::world::{World, envelope};

/// A handler may change a setting for its transaction and then fail. The setting is reverted with
/// what the handler wrote, so the other events of its batch can stay in the transaction.
#[tokio::test]
async fn a_setting_of_a_failed_handler_is_undone_after_another_one_has_succeeded() {
    let world = World::with(|options| options.connections_max = 1).await;
    let of = envelope(1, 1, "{}");
    let mut tx = world.store.begin_for_handler().await.unwrap();
    world.claim(&mut tx, &[&of]).await.unwrap();
    world.store.savepoint(&mut tx).await.unwrap();
    let kept = "insert into effects values ('kept')";
    let connection = world.store.connection(&mut tx);
    connection.execute(kept).await.unwrap();
    world.store.prove(&mut tx).await.unwrap();
    world.store.savepoint(&mut tx).await.unwrap();
    let set = "set local lock_timeout = '1s'";
    let connection = world.store.connection(&mut tx);
    connection.execute(set).await.unwrap();
    let broken = world.store.prove(&mut tx).await;
    let is_broken = matches!(broken, Err(CommitError::BrokenByHandler { .. }));
    assert!(is_broken, "{broken:?}");
    world.store.undo(&mut tx).await.unwrap();
    let done = Outcome::Done { attempt: 1 };
    world.settle(&mut tx, &of, done).await.unwrap();
    world.store.commit(tx).await.unwrap();
    assert_eq!(world.effects("kept").await, 1);
}
