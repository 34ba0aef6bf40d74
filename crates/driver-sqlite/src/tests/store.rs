//! Tests of the promises of the store about claims and retries.

use super::*;
use hookbox_driver::{Ledger, Requeued};

const LATER: Then = Then::Retry {
    after: Duration::from_secs(3_600),
};
const NOW: Then = Then::Retry {
    after: Duration::ZERO,
};

#[tokio::test]
async fn claims_distinguish_fresh_duplicate_conflict_and_redelivered() {
    let world = World::new();
    let store = world.open().await;
    let one = envelope(1);
    assert_eq!(process(&store, "a", &[&one]).await, [Claimed::Fresh]);
    assert_eq!(process(&store, "a", &[&one]).await, [Claimed::Redelivered]);
    let again = another_receipt(1, 2);
    assert_eq!(process(&store, "a", &[&again]).await, [Claimed::Duplicate]);
    assert_eq!(
        process(&store, "a", &[&again]).await,
        [Claimed::Redelivered]
    );
    assert_eq!(
        would_claim(&store, "a", &contradicting(1)).await,
        Claimed::Conflict
    );
    // Route `b` has not claimed this event yet. But the event is stored with another body than that
    // of this envelope, and a retry would run the handler on the stored body. So the envelope is a
    // conflict on route `b`, too.
    assert_eq!(
        would_claim(&store, "b", &contradicting(1)).await,
        Claimed::Conflict
    );
    assert_eq!(process(&store, "b", &[&one]).await, [Claimed::Fresh]);
    let mixed = [&envelope(2), &another_receipt(1, 3), &one, &envelope(3)];
    assert_eq!(
        process(&store, "a", &mixed).await,
        [
            Claimed::Fresh,
            Claimed::Duplicate,
            Claimed::Redelivered,
            Claimed::Fresh
        ]
    );
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn within_one_transaction_an_event_is_claimed_once() {
    let world = World::new();
    let store = world.open().await;
    let (one, again) = (envelope(1), another_receipt(1, 2));
    let mut tx = store.begin().await.unwrap();
    let a = route("a");
    assert_eq!(
        store.claim(&mut tx, &a, &[&one]).await.unwrap(),
        [Claimed::Fresh]
    );
    assert_eq!(
        store.claim(&mut tx, &a, &[&again]).await.unwrap(),
        [Claimed::Duplicate]
    );
    assert_eq!(
        store.claim(&mut tx, &a, &[&one]).await.unwrap(),
        [Claimed::Redelivered]
    );
    let settled = [
        ReceiptOutcome {
            envelope: &again,
            outcome: Outcome::Duplicate,
            other_digest: None,
        },
        ReceiptOutcome {
            envelope: &one,
            outcome: Outcome::Done { attempt: 1 },
            other_digest: None,
        },
    ];
    store.settle(&mut tx, &a, &settled).await.unwrap();
    store.commit(tx).await.unwrap();
    let books = store.books().await.unwrap();
    assert_eq!(
        (books[0].done, books[0].duplicate, books[0].receipts()),
        (1, 1, 2)
    );
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn large_batches_are_claimed_and_settled_whole() {
    let world = World::new();
    let store = world.open().await;
    let envelopes: Vec<Envelope> = (0..200).map(envelope).collect();
    let all: Vec<&Envelope> = envelopes.iter().collect();
    assert_eq!(process(&store, "a", &all).await, vec![Claimed::Fresh; 200]);
    assert_eq!(
        process(&store, "a", &all).await,
        vec![Claimed::Redelivered; 200]
    );
    assert_eq!(store.books().await.unwrap()[0].done, 200);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_failed_attempt_and_its_retry_appear_together_and_count_once() {
    let world = World::new();
    let store = world.open().await;
    let one = envelope(1);
    assert_eq!(fail(&store, &one, 1, LATER).await, Recorded::Recorded);
    assert_eq!(fail(&store, &one, 1, LATER).await, Recorded::Superseded);
    let event = store.event(&one.event.to_string()).await.unwrap().unwrap();
    assert_eq!(event.attempts.len(), 1);
    assert_eq!(event.attempts[0].outcome, "transient");
    assert_eq!(event.attempts[0].took_ms, 12);
    assert_eq!((event.retries.len(), event.retries[0].attempt), (1, 2));
    assert_eq!(event.receipts[0].outcome, "retrying");
    assert_eq!(event.body, one.body);
    // This receipt has its outcome, retrying, so its redelivery is ignored. Another receipt of the
    // same event is a duplicate.
    assert_eq!(would_claim(&store, "a", &one).await, Claimed::Redelivered);
    assert_eq!(
        would_claim(&store, "a", &another_receipt(1, 2)).await,
        Claimed::Duplicate
    );
    // The retry is not due before an hour has passed.
    assert_eq!(requeue(&store).await.len(), 0);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_retry_published_twice_is_granted_once() {
    let world = World::new();
    let store = world.open().await;
    let one = envelope(1);
    fail(&store, &one, 1, NOW).await;
    let due = requeue(&store).await;
    assert_eq!(due.len(), 1);
    let mut expect = one.clone();
    expect.redo = Some(hookbox_event::Redo { attempt: 2 });
    assert_eq!(
        due[0].envelope, expect,
        "the retry must have the fields of the first receipt, and the attempt number 2"
    );
    assert_eq!(
        requeue(&store).await.len(),
        0,
        "a retry that is queued already must not be returned again"
    );
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 0,
    };
    assert_eq!(process(&store, "a", &[&expect]).await, [granted]);
    assert_eq!(
        process(&store, "a", &[&expect]).await,
        [Claimed::Redelivered]
    );
    let event = store.event(&one.event.to_string()).await.unwrap().unwrap();
    let outcomes: Vec<&str> = event
        .attempts
        .iter()
        .map(|one| one.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["transient", "done"]);
    assert_eq!(event.claims[0].attempts, 2);
    assert_eq!(event.receipts[0].outcome, "done");
    assert_eq!(event.retries.len(), 0);
    assert_eq!(fail(&store, &expect, 2, NOW).await, Recorded::Superseded);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_due_retry_is_marked_only_when_confirmed_and_is_due_again_when_not_seen() {
    struct Refusing;
    #[async_trait]
    impl Republish for Refusing {
        async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
            vec![false; due.len()]
        }
    }
    let world = World::new();
    let store = world.open().await;
    fail(&store, &envelope(1), 1, NOW).await;
    fail(&store, &envelope(2), 1, NOW).await;
    let requeued = store.requeue_due(10, &Refusing).await.unwrap();
    assert_eq!(
        requeued,
        Requeued {
            due: 2,
            confirmed: 0
        }
    );
    assert_eq!(
        requeue(&store).await.len(),
        2,
        "both retries must still be due, because their publish was not confirmed"
    );
    assert_eq!(requeue(&store).await.len(), 0);
    let hour_ago = "update retries set queued_at = queued_at - 3601000000";
    world.execute(hour_ago).await;
    let requeued = store.requeue_due(1, &Confirming::default()).await.unwrap();
    assert_eq!(
        requeued,
        Requeued {
            due: 1,
            confirmed: 1
        },
        "with a limit of 1, one of the two due retries must be published"
    );
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn a_retry_goes_through_the_brokers_queue_without_holding_the_writer() {
    struct Broking<'a>(&'a Sqlite);
    #[async_trait]
    impl Republish for Broking<'_> {
        async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
            let envelopes: Vec<Envelope> = due.iter().map(|due| due.envelope.clone()).collect();
            let batch = Batch::of(&envelopes).unwrap();
            let published = self.0.publish(&[due[0].route.clone()], &batch).await;
            vec![published.is_ok(); due.len()]
        }
    }
    let world = World::new();
    let store = world.open().await;
    fail(&store, &envelope(1), 1, NOW).await;
    let requeued = store.requeue_due(10, &Broking(&store)).await.unwrap();
    assert_eq!(
        requeued,
        Requeued {
            due: 1,
            confirmed: 1
        }
    );
    let queue = hookbox_driver::Queue::Route(route("a"));
    let mut subscription = store.subscribe(&queue, 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    let frames = decode_batch(&delivery.bytes).unwrap();
    let redo = frames[0].as_ref().unwrap();
    assert!(matches!(
        process(&store, "a", &[redo]).await[0],
        Claimed::Granted { attempt: 2, .. }
    ));
    delivery.ack().await.unwrap();
    subscription.close().await;
    close(store).await;
    world.end().await;
}
