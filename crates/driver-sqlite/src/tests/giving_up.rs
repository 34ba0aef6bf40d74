//! A route gives up on events: dead letters, conflicts and undecodable bytes, and their replay.

use super::*;
use hookbox_driver::{DeadFilter, DeadReason, Ledger, UndecodableMessage};

const NOW: Then = Then::Retry {
    after: Duration::ZERO,
};
const DEAD: Then = Then::Dead {
    reason: DeadReason::Exhausted,
};

#[tokio::test]
async fn a_failure_that_has_become_a_conflict_meanwhile_is_not_recorded() {
    let world = World::new();
    let store = world.open().await;
    // The first attempt of `conflict` on route `a` failed. Before the failure was recorded, another
    // body of the same event was stored, here by route `b`. So the failure must not be recorded,
    // and the next claim returns a conflict.
    process(&store, "b", &[&envelope(1)]).await;
    let conflict = contradicting(1);
    for then in [NOW, DEAD] {
        assert_eq!(fail(&store, &conflict, 1, then).await, Recorded::Superseded);
    }
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route("a"), &[&conflict]).await;
    assert_eq!(claimed.unwrap(), [Claimed::Conflict]);
    Store::rollback(&store, tx).await;
    let dead_letters = store.dead_count(&DeadFilter::default()).await.unwrap();
    assert_eq!(dead_letters, 0);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_failed_attempt_and_its_dead_letter_appear_together_and_replay_runs_again() {
    let world = World::new();
    let store = world.open().await;
    let one = envelope(1);
    fail(&store, &one, 1, NOW).await;
    let two = requeue(&store).await.remove(0).envelope;
    assert_eq!(fail(&store, &two, 2, DEAD).await, Recorded::Recorded);
    assert_eq!(fail(&store, &two, 2, DEAD).await, Recorded::Superseded);
    let dead_letters = store
        .dead_list(&DeadFilter::default(), 0, 10)
        .await
        .unwrap();
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(
        (dead_letters[0].attempts, dead_letters[0].reason),
        (2, DeadReason::Exhausted)
    );
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    assert_eq!(
        store
            .dead_replay(&DeadFilter::default(), 10, "ann")
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        store
            .dead_replay(&DeadFilter::default(), 10, "ann")
            .await
            .unwrap(),
        0
    );
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    let due = requeue(&store).await;
    let granted = Claimed::Granted {
        attempt: 3,
        attempts_before: 2,
    };
    assert_eq!(would_claim(&store, "a", &due[0].envelope).await, granted);
    // The route gives up on the event again. There must still be one dead letter, in state `Dead`.
    assert_eq!(
        fail(&store, &due[0].envelope, 3, DEAD).await,
        Recorded::Recorded
    );
    assert_eq!(
        store
            .dead_list(&DeadFilter::default(), 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        store
            .dead_replay(&DeadFilter::default(), 10, "ann")
            .await
            .unwrap(),
        1
    );
    let due = requeue(&store).await;
    process(&store, "a", &[&due[0].envelope]).await;
    let event = store.event(&one.event.to_string()).await.unwrap().unwrap();
    assert_eq!(event.receipts[0].outcome, "done");
    assert_eq!(event.claims[0].attempts, 4);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn what_is_settled_dead_or_in_conflict_can_be_replayed() {
    let world = World::new();
    let store = world.open().await;
    let (one, two) = (envelope(1), envelope(2));
    process(&store, "a", &[&one]).await;
    let mut conflict = contradicting(1);
    conflict.event = EventId::of_conflict(&Digester::Plain, &one.event, &conflict.digest);
    let mut tx = store.begin().await.unwrap();
    let claimed = store
        .claim(&mut tx, &route("a"), &[&conflict, &two])
        .await
        .unwrap();
    assert_eq!(claimed, [Claimed::Fresh, Claimed::Fresh]);
    let detail = "at /n: not a string".to_owned();
    let settled = [
        ReceiptOutcome {
            envelope: &conflict,
            outcome: Outcome::Conflict {
                detail: "another body".to_owned(),
            },
            other_digest: None,
        },
        ReceiptOutcome {
            envelope: &two,
            outcome: Outcome::Dead {
                reason: DeadReason::SchemaBroken,
                detail,
            },
            other_digest: None,
        },
    ];
    store.settle(&mut tx, &route("a"), &settled).await.unwrap();
    store.commit(tx).await.unwrap();
    let books = store.books().await.unwrap();
    let page = &books[0];
    assert_eq!(
        (page.done, page.conflict, page.dead, page.receipts()),
        (1, 1, 1, 3)
    );
    assert_eq!(store.imbalances(10).await.unwrap(), []);

    assert_eq!(
        store
            .dead_replay(&DeadFilter::default(), 10, "ann")
            .await
            .unwrap(),
        2
    );
    let due = requeue(&store).await;
    assert_eq!(due.len(), 2);
    for retry in &due {
        let granted = Claimed::Granted {
            attempt: 1,
            attempts_before: 0,
        };
        assert_eq!(process(&store, "a", &[&retry.envelope]).await, [granted]);
    }
    let books = store.books().await.unwrap();
    assert_eq!((books[0].done, books[0].conflict, books[0].dead), (2, 1, 0));
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn undecodable_bytes_are_stored_once_and_never_replayed() {
    let world = World::new();
    let store = world.open().await;
    let bytes = bytes::Bytes::from_static(b"\0not a batch\xff");
    let a = route("a");
    let undecodable = UndecodableMessage::new(
        &Digester::Plain,
        &a,
        &bytes,
        DeadReason::Undecodable,
        "it is not a batch",
    );
    assert_eq!(
        store.store_undecodable(&undecodable).await.unwrap(),
        Recorded::Recorded
    );
    assert_eq!(
        store.store_undecodable(&undecodable).await.unwrap(),
        Recorded::Superseded
    );
    let dead_letters = store
        .dead_list(&DeadFilter::default(), 0, 10)
        .await
        .unwrap();
    assert_eq!(dead_letters.len(), 1);
    let dead_letter = store.dead_show(dead_letters[0].id).await.unwrap().unwrap();
    assert_eq!(dead_letter.history.body, bytes);
    assert_eq!(dead_letter.row.topic.as_str(), "hookbox.undecodable");
    assert_eq!(
        store
            .dead_replay(&DeadFilter::default(), 10, "ann")
            .await
            .unwrap(),
        0
    );
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

/// A `Republish` that is overtaken: before it returns, the event becomes a dead letter and is
/// replayed. The retry that waits afterwards is a new one with the same attempt number.
struct Overtaken<'a>(&'a Sqlite);

#[async_trait]
impl Republish for Overtaken<'_> {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let (store, route) = (self.0, route("a"));
        let mut tx = store.begin().await.unwrap();
        let [DueRetry { envelope, .. }] = due else {
            panic!("expected one retry, and not {due:?}");
        };
        store.claim(&mut tx, &route, &[envelope]).await.unwrap();
        let outcome = Outcome::Dead {
            reason: DeadReason::Malformed,
            detail: "no attempt was made".to_owned(),
        };
        let settled = [ReceiptOutcome {
            envelope,
            outcome,
            other_digest: None,
        }];
        store.settle(&mut tx, &route, &settled).await.unwrap();
        store.commit(tx).await.unwrap();
        let replayed = store.dead_replay(&DeadFilter::default(), 10, "ann").await;
        assert_eq!(replayed.unwrap(), 1);
        vec![true]
    }
}

#[tokio::test]
async fn a_replay_is_not_marked_for_the_publish_of_an_earlier_one() {
    let world = World::new();
    let store = world.open().await;
    let then = Then::Retry {
        after: Duration::ZERO,
    };
    fail(&store, &envelope(1), 1, then).await;
    store.requeue_due(10, &Overtaken(&store)).await.unwrap();
    let due = requeue(&store).await;
    assert_eq!(due.len(), 1, "the retry must be due now and not in an hour");
    assert_eq!(
        due[0].envelope.redo,
        Some(hookbox_event::Redo { attempt: 2 })
    );
    close(store).await;
    world.end().await;
}
