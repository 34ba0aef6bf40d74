//! Tests of concurrent transactions: their claims, their locks, their connections, and their
//! cancellation.

use std::collections::BTreeSet;
use std::time::Duration;

use hookbox_driver::{Claimed, FaultKind, Outcome, ReceiptOutcome, Store};
use hookbox_driver_postgres::Postgres;
use hookbox_event::Envelope;
use hookbox_testkit::eventually::eventually;
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;

use crate::world::{ROUTE, World, envelope, route};

#[tokio::test]
async fn claims_return_fresh_redelivered_duplicate_and_conflict() {
    let world = World::new().await;
    let first = envelope(1, 1, "{}");
    assert_eq!(world.process(&first, "e").await, Claimed::Fresh);
    assert_eq!(world.process(&first, "e").await, Claimed::Redelivered);
    assert_eq!(
        world.process(&envelope(1, 2, "{}"), "e").await,
        Claimed::Duplicate
    );
    assert_eq!(
        world.process(&envelope(1, 2, "{}"), "e").await,
        Claimed::Redelivered
    );
    assert_eq!(
        world.process(&envelope(1, 3, "[]"), "e").await,
        Claimed::Conflict
    );
    assert_eq!(world.effects("e").await, 1);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_claim_of_a_batch_returns_one_result_for_each_envelope() {
    let world = World::new().await;
    world.process(&envelope(3, 3, "{}"), "e").await;
    let batch = [
        envelope(5, 10, "{}"),
        envelope(3, 11, "{}"),
        envelope(4, 12, "{}"),
        envelope(3, 13, "[]"),
    ];
    // One call of `claim` must not have two envelopes of the same event, so the conflict is claimed
    // in a second call.
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world
        .claim(&mut tx, &[&batch[0], &batch[1], &batch[2]])
        .await
        .unwrap();
    assert_eq!(
        claimed,
        [Claimed::Fresh, Claimed::Duplicate, Claimed::Fresh]
    );
    let claimed = world.claim(&mut tx, &[&batch[3]]).await.unwrap();
    assert_eq!(claimed, [Claimed::Conflict]);
    world.store.rollback(tx).await;
}

#[tokio::test]
async fn another_body_on_another_route_is_a_conflict_there_too() {
    let world = World::new().await;
    world.process(&envelope(1, 1, "{}"), "e").await;
    let other = envelope(1, 2, "[]");
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world
        .store
        .claim(&mut tx, &route("other"), &[&other])
        .await
        .unwrap();
    assert_eq!(claimed, [Claimed::Conflict]);
    let same = envelope(1, 3, "{}");
    let claimed = world
        .store
        .claim(&mut tx, &route("other"), &[&same])
        .await
        .unwrap();
    assert_eq!(claimed, [Claimed::Fresh]);
    world.store.rollback(tx).await;
}

/// Without [`Store::store_events`], the second claim would wait for the first transaction, and
/// would end with a fault at the lock timeout.
#[tokio::test]
async fn routes_do_not_wait_for_each_other_on_events_that_were_stored_before() {
    let world = World::new().await;
    let batch = [envelope(1, 1, "{}"), envelope(2, 2, "{}")];
    let events: Vec<&Envelope> = batch.iter().collect();
    world.store.store_events(&events).await.unwrap();
    let mut claims = Vec::new();
    for name in [ROUTE, "other"] {
        let mut tx = world.store.begin().await.unwrap();
        let claimed = world.store.claim(&mut tx, &route(name), &events).await;
        assert_eq!(claimed.unwrap(), [Claimed::Fresh; 2], "{name}");
        claims.push(tx);
    }
    for tx in claims {
        world.store.rollback(tx).await;
    }
}

#[tokio::test]
async fn what_text_and_time_cannot_hold_is_no_poison() {
    let world = World::new().await;
    let mut odd = envelope(1, 1, "\0 \u{fffd} [[[[");
    odd.body = b"\xff\x00\xed\xa0\x80".to_vec().into();
    odd.key_id = "key\0id".to_owned();
    odd.traceparent = Some("\0".to_owned());
    odd.seal = Some("seal\0".to_owned());
    odd.received_at = hookbox_event::Timestamp::from_unix_micros(i64::MAX);
    odd.number = u64::MAX;
    assert_eq!(world.process(&odd, "e").await, Claimed::Fresh);
    let body = "select count(*) from bodies where body = '\\xff00eda080'";
    assert_eq!(world.number(body).await, 1);
}

#[tokio::test]
async fn opposite_orders_do_not_deadlock() {
    let world = World::new().await;
    let mut workers = JoinSet::new();
    let batches = 40_u8;
    for worker in 0..4_u8 {
        let store = world.store.clone();
        workers.spawn(async move {
            let mut fresh = Vec::new();
            for batch in 0..batches {
                let mut envelopes: Vec<Envelope> = (0..6)
                    .map(|n| envelope(batch * 6 + n, worker, "{}"))
                    .collect();
                for (n, envelope) in envelopes.iter_mut().enumerate() {
                    let receipt = [worker, batch, u8::try_from(n).unwrap()];
                    let mut bytes = [0; 16];
                    bytes[..3].copy_from_slice(&receipt);
                    envelope.receipt = hookbox_event::ReceiptId::from_bytes(bytes);
                    envelope.number = receipt
                        .iter()
                        .fold(1, |all, one| all * 256 + u64::from(*one));
                }
                match worker % 3 {
                    0 => {}
                    1 => envelopes.reverse(),
                    _ => envelopes.swap(0, 5),
                }
                fresh.extend(one_batch(&store, &envelopes).await);
            }
            fresh
        });
    }
    let fresh = workers.join_all().await.concat();
    let distinct: BTreeSet<_> = fresh.iter().collect();
    assert_eq!(
        fresh.len(),
        usize::from(batches) * 6,
        "each event must be claimed as new (`Fresh`) exactly once"
    );
    assert_eq!(
        distinct.len(),
        fresh.len(),
        "no event may be claimed as new in two transactions"
    );
    world.assert_balanced().await;
}

/// A third transaction holds the claim of the middle event, so that two batches with opposite
/// orders both wait for it. If each batch locked the events in its own order, each would then hold
/// what the other one waits for: a deadlock.
#[tokio::test]
async fn opposite_orders_cannot_wait_for_each_other() {
    for known in [false, true] {
        let world = World::new().await;
        if known {
            // Another route has stored the events before. So the batches insert only claims, and
            // deadlock only if they insert claims in different orders. If the events were new, the
            // batches would already wait for each other when they insert the events, and the order
            // of the claims would not be tested.
            let mut tx = world.store.begin().await.unwrap();
            for event in 1..=3 {
                let envelope = envelope(event, event, "{}");
                let claimed = world
                    .store
                    .claim(&mut tx, &route("other"), &[&envelope])
                    .await;
                claimed.unwrap();
                let settled = [ReceiptOutcome {
                    envelope: &envelope,
                    outcome: Outcome::Done { attempt: 1 },
                    other_digest: None,
                }];
                world
                    .store
                    .settle(&mut tx, &route("other"), &settled)
                    .await
                    .unwrap();
            }
            world.store.commit(tx).await.unwrap();
        }
        let mut blocker = world.store.begin().await.unwrap();
        let middle = envelope(2, 12, "{}");
        world.claim(&mut blocker, &[&middle]).await.unwrap();
        let up = [1, 2, 3].map(|event| envelope(event, event + 20, "{}"));
        let down = [3, 2, 1].map(|event| envelope(event, event + 30, "{}"));
        let unblock = async {
            eventually(
                "both batches must wait for the third transaction",
                || async {
                    let query = "select count(*) from pg_stat_activity
                             where datname = current_database() and wait_event_type = 'Lock'";
                    match world.number(query).await {
                        2 => Ok(()),
                        other => Err(format!("{other} sessions wait")),
                    }
                },
            )
            .await;
            world.store.rollback(blocker).await;
        };
        let (one, two, ()) = tokio::join!(
            one_batch(&world.store, &up),
            one_batch(&world.store, &down),
            unblock
        );
        assert_eq!(one.len() + two.len(), 3, "known: {known}");
    }
}

/// Processes one batch. Any fault fails the test. Contention would mean that the batches were in a
/// deadlock.
async fn one_batch(store: &Postgres, envelopes: &[Envelope]) -> Vec<hookbox_event::EventId> {
    let all: Vec<&Envelope> = envelopes.iter().collect();
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route(ROUTE), &all).await.unwrap();
    let settled: Vec<ReceiptOutcome<'_>> = envelopes
        .iter()
        .zip(&claimed)
        .map(|(envelope, claimed)| ReceiptOutcome {
            envelope,
            outcome: match claimed {
                Claimed::Fresh => Outcome::Done { attempt: 1 },
                Claimed::Duplicate => Outcome::Duplicate,
                other => panic!("{other:?}"),
            },
            other_digest: None,
        })
        .collect();
    store
        .settle(&mut tx, &route(ROUTE), &settled)
        .await
        .unwrap();
    store.commit(tx).await.unwrap();
    let fresh = settled
        .iter()
        .filter(|s| matches!(s.outcome, Outcome::Done { .. }));
    fresh.map(|settled| settled.envelope.event).collect()
}

#[tokio::test]
async fn a_claim_waits_for_the_one_before_it() {
    let world = World::new().await;
    for commits in [false, true] {
        let event = u8::from(commits) + 1;
        let (first, second) = (
            envelope(event, event, "{}"),
            envelope(event, event + 10, "{}"),
        );
        let mut tx = world.store.begin().await.unwrap();
        world.claim(&mut tx, &[&first]).await.unwrap();
        let waiting = world.peek(&second);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(early.is_err(), "{early:?}");
        if commits {
            world
                .settle(&mut tx, &first, Outcome::Done { attempt: 1 })
                .await
                .unwrap();
            world.store.commit(tx).await.unwrap();
            assert_eq!(waiting.await, Claimed::Duplicate);
        } else {
            drop(tx);
            assert_eq!(waiting.await, Claimed::Fresh);
        }
    }
}

#[tokio::test]
async fn a_busy_lock_is_contention() {
    let world = World::with(|options| options.lock_timeout = Duration::from_millis(100)).await;
    let envelope = envelope(1, 1, "{}");
    let mut holder = world.store.begin().await.unwrap();
    world.claim(&mut holder, &[&envelope]).await.unwrap();
    let mut waiter = world.store.begin().await.unwrap();
    let fault = world.claim(&mut waiter, &[&envelope]).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Contention);
    world.store.rollback(waiter).await;
    world.store.rollback(holder).await;
    assert_eq!(world.peek(&envelope).await, Claimed::Fresh);
}

#[tokio::test]
async fn a_deadlock_between_handlers_is_contention() {
    let world = World::new().await;
    world
        .execute("insert into effects values ('a'), ('b')")
        .await;
    let update =
        |key: &'static str| sqlx::query("update effects set key = key where key = $1").bind(key);
    let (mut one, mut two) = (
        world.store.begin().await.unwrap(),
        world.store.begin().await.unwrap(),
    );
    update("a")
        .execute(world.store.connection(&mut one))
        .await
        .unwrap();
    update("b")
        .execute(world.store.connection(&mut two))
        .await
        .unwrap();
    let (first, second) = tokio::join!(
        update("b").execute(world.store.connection(&mut one)),
        async {
            let result = update("a").execute(world.store.connection(&mut two)).await;
            world.store.rollback(two).await;
            result
        }
    );
    let error = first
        .err()
        .or(second.err())
        .expect("the server must fail one of the two transactions to end the deadlock");
    assert_eq!(world.store.diagnose(&error), Some(FaultKind::Contention));
}

#[tokio::test]
async fn a_constraint_violation_is_not_ours() {
    let world = World::new().await;
    world
        .execute("create table strict (key int primary key)")
        .await;
    let mut connection = world.connect().await;
    let violation = connection
        .execute("insert into strict values (1), (1)")
        .await
        .unwrap_err();
    assert_eq!(world.store.diagnose(&violation), None);
    let slow = connection
        .execute("set statement_timeout = 10; select pg_sleep(5)")
        .await
        .unwrap_err();
    assert_eq!(world.store.diagnose(&slow), None);
    connection.close().await.unwrap();
}
