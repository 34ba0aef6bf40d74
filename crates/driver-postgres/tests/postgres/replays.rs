//! Tests of replays of dead letters: some run again, and for others a replay changes nothing.

use bytes::Bytes;
use hookbox_driver::{
    DeadFilter, DeadReason, DeadState, Ledger, Outcome, Recorded, Store, UndecodableMessage,
};
use hookbox_event::Digester;

use crate::world::{DEAD, World, again, envelope, granted, redo, route};

#[tokio::test]
async fn a_replayed_dead_letter_has_a_fresh_round() {
    let world = World::new().await;
    let first = envelope(1, 1, "{}");
    world.fail(&first, 1, again()).await;
    world.fail(&redo(&first, 2), 2, DEAD).await;
    let all = DeadFilter::default();
    let dead = world.store.dead_list(&all, 0, 10).await.unwrap();
    assert_eq!((dead[0].state, dead[0].attempts), (DeadState::Dead, 2));

    assert_eq!(world.store.dead_replay(&all, 10, "ada").await.unwrap(), 1);
    assert_eq!(
        world.store.dead_replay(&all, 10, "ada").await.unwrap(),
        0,
        "the dead letter is already being replayed, so it must not be replayed again"
    );
    world.assert_balanced().await;
    let (_, due) = world.requeue().await;
    assert_eq!(due[0].envelope, redo(&first, 3));
    assert_eq!(world.peek(&due[0].envelope).await, granted(3, 2));

    // The replayed event dies again, and keeps the id of its dead letter.
    assert_eq!(
        world.fail_after(&redo(&first, 3), 3, 2, DEAD).await,
        Recorded::Recorded
    );
    let again = world.store.dead_list(&all, 0, 10).await.unwrap();
    assert_eq!((again[0].id, again[0].state), (dead[0].id, DeadState::Dead));
    world.assert_balanced().await;

    world.store.dead_replay(&all, 10, "ada").await.unwrap();
    assert_eq!(world.process(&redo(&first, 4), "e").await, granted(4, 3));
    assert_eq!(world.effects("e").await, 1);
    assert_eq!(world.store.books().await.unwrap()[0].done, 1);
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_event_that_died_without_an_attempt_can_be_replayed() {
    let world = World::new().await;
    let first = envelope(1, 1, "{}");
    let broken = || Outcome::Dead {
        reason: DeadReason::SchemaBroken,
        detail: "/uid: required".to_owned(),
    };
    world.conclude(&first, broken()).await;
    world.assert_balanced().await;
    world
        .store
        .dead_replay(&DeadFilter::default(), 10, "ada")
        .await
        .unwrap();
    let retry = redo(&first, 1);
    assert_eq!(world.peek(&retry).await, granted(1, 0));
    // The body still does not match its schema, so the event dies again before an attempt is made.
    world.conclude(&retry, broken()).await;
    world.assert_balanced().await;
    assert_eq!(
        world
            .number("select count(*) from dead_letters where state = 'dead'")
            .await,
        1
    );
    world
        .store
        .dead_replay(&DeadFilter::default(), 10, "ada")
        .await
        .unwrap();
    // The first attempt fails, so the event must wait for the second attempt.
    assert_eq!(world.fail(&retry, 1, again()).await, Recorded::Recorded);
    assert_eq!(world.process(&redo(&first, 2), "e").await, granted(2, 0));
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replayed_conflict_stays_a_conflict_in_the_accounting() {
    let world = World::new().await;
    let conflict = envelope(1, 1, "[]");
    let detail = "another body".to_owned();
    world
        .conclude(&conflict, Outcome::Conflict { detail })
        .await;
    let reason = "select count(*) from dead_letters where reason = 'conflict'";
    assert_eq!(world.number(reason).await, 1);
    world
        .store
        .dead_replay(&DeadFilter::default(), 10, "ada")
        .await
        .unwrap();
    assert_eq!(world.process(&redo(&conflict, 1), "e").await, granted(1, 0));
    let books = world.store.books().await.unwrap();
    assert_eq!((books[0].conflict, books[0].done), (1, 0));
    world.assert_balanced().await;
}

#[tokio::test]
async fn undecodable_bytes_are_kept_once_and_not_replayed() {
    let world = World::new().await;
    let bytes = Bytes::from_static(b"\x00not an envelope");
    let scores = route("scores");
    let undecodable = UndecodableMessage::new(
        &Digester::Plain,
        &scores,
        &bytes,
        DeadReason::Undecodable,
        "not an envelope",
    );
    assert_eq!(
        world.store.store_undecodable(&undecodable).await.unwrap(),
        Recorded::Recorded
    );
    assert_eq!(
        world.store.store_undecodable(&undecodable).await.unwrap(),
        Recorded::Superseded
    );
    let all = DeadFilter::default();
    assert_eq!(world.store.dead_count(&all).await.unwrap(), 1);
    assert_eq!(world.store.dead_replay(&all, 10, "ada").await.unwrap(), 0);
    let row = &world.store.dead_list(&all, 0, 1).await.unwrap()[0];
    let shown = world.store.dead_show(row.id).await.unwrap().unwrap();
    assert_eq!(shown.history.body, bytes);
    world.assert_balanced().await;
}
