//! Tests retries and replays of many events. They are published together, and settled by statements
//! for the whole batch.

use std::sync::Mutex;

use super::*;
use hookbox_driver::{AuditFilter, DeadFilter, DeadReason, Ledger};

const NOW: Then = Then::Retry {
    after: Duration::ZERO,
};

/// A number of events that is larger than what one statement inserts.
const MANY: u64 = 70;

/// A `Republish` that confirms only the retries of events with an even number. It records all
/// numbers.
#[derive(Default)]
struct Half(Mutex<Vec<u64>>);

#[async_trait]
impl Republish for Half {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let numbers: Vec<u64> = due.iter().map(|due| due.envelope.number).collect();
        self.0.lock().unwrap().extend(&numbers);
        numbers
            .iter()
            .map(|number| number.is_multiple_of(2))
            .collect()
    }
}

#[tokio::test]
async fn only_confirmed_retries_are_marked_as_queued() {
    let world = World::new();
    let store = world.open().await;
    for n in 0..MANY {
        fail(&store, &envelope(n), 1, NOW).await;
    }
    let half = Half::default();
    let requeued = store.requeue_due(100, &half).await.unwrap();
    assert_eq!((requeued.due, requeued.confirmed), (70, 35));
    let mut again: Vec<u64> = requeue(&store)
        .await
        .iter()
        .map(|due| due.envelope.number)
        .collect();
    again.sort_unstable();
    let odd: Vec<u64> = (0..MANY).filter(|n| n % 2 == 1).collect();
    assert_eq!(again, odd);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn bodies_of_retries_that_are_read_at_once_are_bounded() {
    let world = World::new();
    let store = world.open().await;
    for n in 0..3 {
        let mut large = envelope(n);
        // Only two of these bodies of 7 MiB fit into the limit of 16 MiB.
        large.body = vec![b'x'; 7 << 20].into();
        fail(&store, &large, 1, NOW).await;
    }
    assert_eq!(requeue(&store).await.len(), 2);
    assert_eq!(requeue(&store).await.len(), 1);
    assert_eq!(requeue(&store).await.len(), 0);
    close(store).await;
    world.end().await;
}

/// Claims retries in one transaction, and settles those with an even number as done and the others
/// as dead.
async fn settle_half(store: &Sqlite, due: &[DueRetry]) {
    let route = route("a");
    let envelopes: Vec<&Envelope> = due.iter().map(|due| &due.envelope).collect();
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route, &envelopes).await.unwrap();
    let settled = envelopes.iter().zip(&claimed).map(|(envelope, claimed)| {
        let Claimed::Granted { attempt, .. } = claimed else {
            panic!("expected a granted retry, and not {claimed:?}");
        };
        let outcome = if envelope.number.is_multiple_of(2) {
            Outcome::Done { attempt: *attempt }
        } else {
            Outcome::Dead {
                reason: DeadReason::SchemaBroken,
                detail: format!("event {}", envelope.number),
            }
        };
        ReceiptOutcome {
            envelope,
            outcome,
            other_digest: None,
        }
    });
    let settled: Vec<ReceiptOutcome<'_>> = settled.collect();
    store.settle(&mut tx, &route, &settled).await.unwrap();
    store.commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_batch_of_retries_is_settled_and_replayed_as_a_whole() {
    let world = World::new();
    let store = world.open().await;
    for n in 0..MANY {
        fail(&store, &envelope(n), 1, NOW).await;
    }
    settle_half(&store, &requeue(&store).await).await;
    let books = store.books().await.unwrap();
    assert_eq!((books[0].done, books[0].dead), (35, 35));
    assert_eq!(world.number("select count(*) from retries").await, 0);
    let done = "select count(*) from attempts where outcome = 'done' and attempt = 2";
    assert_eq!(world.number(done).await, 35);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    let filter = DeadFilter::default();
    let dead = store.dead_list(&filter, 0, 100).await.unwrap();
    assert_eq!(dead.len(), 35);
    assert!(dead.iter().all(|one| one.detail.starts_with("event ")));

    assert_eq!(store.dead_replay(&filter, 100, "ann").await.unwrap(), 35);
    assert_eq!(store.dead_replay(&filter, 100, "ann").await.unwrap(), 0);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    let audits = store.audits(&AuditFilter::default(), None, 100).await;
    let subjects: Vec<String> = audits.unwrap().into_iter().map(|row| row.subject).collect();
    let expected = dead.iter().rev();
    let expected: Vec<String> = expected
        .map(|it| format!("dead letter {}", it.id))
        .collect();
    assert_eq!(subjects, expected);
    let earlier = "select count(*) from earlier_deaths where replayed_by = 'ann'";
    assert_eq!(world.number(earlier).await, 35);
    let due = requeue(&store).await;
    let attempts = due.iter().filter_map(|due| due.envelope.redo);
    assert!(attempts.map(|redo| redo.attempt).eq([2; 35]));
    let envelopes: Vec<&Envelope> = due.iter().map(|due| &due.envelope).collect();
    process(&store, "a", &envelopes).await;
    let books = store.books().await.unwrap();
    assert_eq!((books[0].done, books[0].dead), (70, 0));
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}
