//! Tests of failed attempts: that their retries are granted once, what becomes a dead letter, and
//! that each failure is recorded only once.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{Claimed, DueRetry, Ledger, Recorded, Republish, Requeued, Store, Then};
use hookbox_testkit::eventually::eventually;

use crate::world::{Collector, DEAD, World, again, envelope, granted, redo};

#[tokio::test]
async fn a_failed_attempt_is_retried_until_it_is_done() {
    let world = World::new().await;
    let first = envelope(1, 1, "{\"a\": 1}");
    assert_eq!(world.fail(&first, 1, again()).await, Recorded::Recorded);
    world.assert_balanced().await;
    // While the event waits for its retry, another receipt of the event is a duplicate, and a
    // redelivery of the same receipt finds its outcome.
    assert_eq!(world.peek(&first).await, Claimed::Redelivered);
    assert_eq!(
        world.process(&envelope(1, 2, "{\"a\": 1}"), "e").await,
        Claimed::Duplicate
    );

    let (requeued, due) = world.requeue().await;
    assert_eq!(
        requeued,
        Requeued {
            due: 1,
            confirmed: 1
        }
    );
    let retry = &due[0].envelope;
    assert_eq!(
        *retry,
        redo(&first, 2),
        "the retry must have the header fields of the event's first receipt"
    );
    assert_eq!(
        world.requeue().await.0,
        Requeued::default(),
        "a retry that is queued must not be published a second time"
    );

    assert_eq!(
        world.fail_after(retry, 2, 0, again()).await,
        Recorded::Recorded
    );
    let (_, due) = world.requeue().await;
    assert_eq!(world.process(&due[0].envelope, "e").await, granted(3, 0));
    assert_eq!(world.effects("e").await, 1);
    assert_eq!(world.number("select count(*) from retries").await, 0);

    let event = world.store.event(&"01".repeat(32)).await.unwrap().unwrap();
    let attempts: Vec<_> = event
        .attempts
        .iter()
        .map(|a| (a.attempt, a.outcome.as_str()))
        .collect();
    assert_eq!(attempts, [(1, "transient"), (2, "transient"), (3, "done")]);
    assert_eq!(event.claims[0].attempts, 3);
    let outcomes: Vec<_> = event.receipts.iter().map(|r| r.outcome.as_str()).collect();
    assert_eq!(outcomes, ["done", "duplicate"]);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_retry_that_is_published_twice_is_granted_once() {
    let world = World::new().await;
    let first = envelope(1, 1, "{}");
    world.fail(&first, 1, again()).await;
    let retry = redo(&first, 2);
    assert_eq!(
        world.peek(&redo(&first, 3)).await,
        Claimed::Redelivered,
        "only attempt 2 is due, so attempt 3 must not be granted"
    );
    assert_eq!(world.process(&retry, "e").await, granted(2, 0));
    assert_eq!(world.process(&retry, "e").await, Claimed::Redelivered);
    assert_eq!(world.effects("e").await, 1);
}

#[tokio::test]
async fn two_deliveries_of_one_retry_at_once_have_one_effect() {
    let world = World::new().await;
    let first = envelope(1, 1, "{}");
    world.fail(&first, 1, again()).await;
    let retry = redo(&first, 2);
    let (one, two) = tokio::join!(world.process(&retry, "e"), world.process(&retry, "e"));
    let mut words = [one, two];
    words.sort_by_key(|claimed| *claimed == Claimed::Redelivered);
    assert_eq!(words, [granted(2, 0), Claimed::Redelivered]);
    assert_eq!(world.effects("e").await, 1);
}

#[tokio::test]
async fn a_failure_that_is_recorded_twice_counts_once() {
    let world = World::new().await;
    let first = envelope(1, 1, "{}");
    assert_eq!(world.fail(&first, 1, again()).await, Recorded::Recorded);
    assert_eq!(world.fail(&first, 1, again()).await, Recorded::Superseded);
    assert_eq!(world.fail(&first, 1, DEAD).await, Recorded::Superseded);
    let retry = redo(&first, 2);
    assert_eq!(world.fail(&retry, 2, DEAD).await, Recorded::Recorded);
    assert_eq!(world.fail(&retry, 2, DEAD).await, Recorded::Superseded);
    assert_eq!(world.number("select count(*) from attempts").await, 2);
    assert_eq!(world.number("select count(*) from dead_letters").await, 1);
    assert_eq!(world.number("select count(*) from retries").await, 0);
    world.assert_balanced().await;
}

#[tokio::test]
async fn the_failure_of_an_event_that_is_done_changes_nothing() {
    let world = World::new().await;
    let first = envelope(1, 1, "{}");
    world.process(&first, "e").await;
    assert_eq!(world.fail(&first, 1, again()).await, Recorded::Superseded);
    assert_eq!(
        world.fail(&redo(&first, 2), 2, DEAD).await,
        Recorded::Superseded
    );
    // This envelope has another body under the same event id, so its failure is not a failure of
    // the claimed event and must not be recorded.
    assert_eq!(
        world.fail(&envelope(1, 2, "[]"), 1, DEAD).await,
        Recorded::Superseded
    );
    assert_eq!(world.number("select count(*) from attempts").await, 0);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_retry_is_not_due_early() {
    let world = World::new().await;
    let hour = Duration::from_secs(60 * 60);
    world
        .fail(&envelope(1, 1, "{}"), 1, Then::Retry { after: hour })
        .await;
    // A wait that is too long for PostgreSQL's timestamps must be shortened, and the failure must
    // be recorded.
    let for_ever = Then::Retry {
        after: Duration::MAX,
    };
    world.fail(&envelope(2, 2, "{}"), 1, for_ever).await;
    assert_eq!(world.requeue().await.0, Requeued::default());
    world
        .execute("update retries set not_before = not_before - interval '1 hour'")
        .await;
    assert_eq!(
        world.requeue().await.0,
        Requeued {
            due: 1,
            confirmed: 1
        }
    );
}

#[tokio::test]
async fn a_retry_that_was_queued_and_made_no_progress_is_due_again() {
    let world = World::new().await;
    world.fail(&envelope(1, 1, "{}"), 1, again()).await;
    assert_eq!(world.requeue().await.0.confirmed, 1);
    world
        .execute("update retries set queued_at = now() - interval '59 minutes'")
        .await;
    assert_eq!(world.requeue().await.0.confirmed, 0);
    world
        .execute("update retries set queued_at = now() - interval '61 minutes'")
        .await;
    assert_eq!(world.requeue().await.0.confirmed, 1);
}

#[tokio::test]
async fn only_what_the_broker_confirmed_is_marked() {
    let world = World::new().await;
    let (refused, taken) = (envelope(1, 1, "{}"), envelope(2, 2, "{}"));
    world.fail(&refused, 1, again()).await;
    world.fail(&taken, 1, again()).await;
    let broker = Collector {
        refuses: HashSet::from([refused.event]),
        ..Collector::default()
    };
    let requeued = world.store.requeue_due(10, &broker).await.unwrap();
    assert_eq!(
        requeued,
        Requeued {
            due: 2,
            confirmed: 1
        }
    );
    let (requeued, due) = world.requeue().await;
    assert_eq!(
        requeued,
        Requeued {
            due: 1,
            confirmed: 1
        }
    );
    assert_eq!(due[0].envelope.event, refused.event);
}

/// A `Republish` that lets a second scheduler query for due retries while the first publishes.
struct Meanwhile<'a> {
    world: &'a World,
    seen: Mutex<Vec<Requeued>>,
}

#[async_trait]
impl Republish for Meanwhile<'_> {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let (seen, _) = self.world.requeue().await;
        self.seen.lock().unwrap().push(seen);
        vec![true; due.len()]
    }
}

#[tokio::test]
async fn two_schedulers_do_not_get_the_same_retry() {
    let world = World::new().await;
    world.fail(&envelope(1, 1, "{}"), 1, again()).await;
    world.fail(&envelope(2, 2, "{}"), 1, again()).await;
    let broker = Meanwhile {
        world: &world,
        seen: Mutex::default(),
    };
    let requeued = world.store.requeue_due(1, &broker).await.unwrap();
    assert_eq!(
        requeued,
        Requeued {
            due: 1,
            confirmed: 1
        }
    );
    let seen = broker.seen.into_inner().unwrap();
    assert_eq!(
        seen,
        [Requeued {
            due: 1,
            confirmed: 1
        }],
        "the second scheduler must republish the other due retry"
    );
    assert_eq!(world.requeue().await.0, Requeued::default());
}

#[tokio::test]
async fn a_scheduler_that_is_stopped_in_the_middle_marks_nothing() {
    struct Stuck;
    #[async_trait]
    impl Republish for Stuck {
        async fn republish(&self, _due: &[&DueRetry]) -> Vec<bool> {
            std::future::pending().await
        }
    }
    let world = World::new().await;
    world.fail(&envelope(1, 1, "{}"), 1, again()).await;
    let stopped = tokio::time::timeout(
        Duration::from_millis(100),
        world.store.requeue_due(10, &Stuck),
    );
    assert!(stopped.await.is_err());
    // The cancelled call closed its connection. As soon as the server notices that, it unlocks the
    // rows.
    eventually(
        "after the cancelled call, the retry must become due again",
        || async {
            match world.requeue().await.0.confirmed {
                1 => Ok(()),
                other => Err(format!("{other} retries were confirmed, not one")),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_retry_that_this_database_has_never_seen_is_claimed_like_any_other() {
    let world = World::new().await;
    let unknown = redo(&envelope(1, 1, "{}"), 7);
    assert_eq!(world.process(&unknown, "e").await, Claimed::Fresh);
    assert_eq!(world.effects("e").await, 1);
    world.assert_balanced().await;
}
