//! Tests of the accounting: each test statement makes two tables contradict each other, and the
//! contradiction must be reported.

use hookbox_driver::{DeadReason, Ledger, Outcome, RouteBooks};

use crate::world::{ROUTE, World, again, envelope, route};

/// Returns a test database with three events: event 1 is done, event 2 waits for a retry, and event
/// 3 is dead.
async fn filled() -> World {
    let world = World::new().await;
    world.process(&envelope(1, 1, "{}"), "e").await;
    world.process(&envelope(1, 11, "{}"), "e").await;
    world.fail(&envelope(2, 2, "{}"), 1, again()).await;
    let reason = DeadReason::Malformed;
    let detail = "not JSON".to_owned();
    world
        .conclude(&envelope(3, 3, "{}"), Outcome::Dead { reason, detail })
        .await;
    let detail = "another body".to_owned();
    world
        .conclude(&envelope(4, 4, "{}"), Outcome::Conflict { detail })
        .await;
    world
}

#[tokio::test]
async fn every_receipt_has_one_outcome() {
    let world = filled().await;
    let books = world.store.books().await.unwrap();
    let expect = RouteBooks {
        route: route(ROUTE),
        done: 1,
        duplicate: 1,
        conflict: 1,
        retrying: 1,
        dead: 1,
        stale: 0,
    };
    assert_eq!(books, [expect]);
    assert_eq!(books[0].receipts(), 5);
    world.assert_balanced().await;
}

#[tokio::test]
async fn every_contradiction_is_reported() {
    let id = |n: u8| format!("event_id = '\\x{}'", format!("{n:02x}").repeat(16));
    let event = |n: u8| format!("event = (select number from events where {})", id(n));
    let without = |table: &str, n| format!("delete from {table} where {}", event(n));
    let no_outcome = "a claim that was committed without an outcome";
    for (sabotage, reported) in [
        (
            format!("delete from events where {}", id(1)),
            "which is not stored",
        ),
        (without("bodies", 1), "a claim of an event without its body"),
        (without("receipts", 1), no_outcome),
        (without("receipts", 2), "a retrying claim without a receipt"),
        (without("receipts", 3), "a dead claim without a receipt"),
        (without("claims", 1), "a receipt without a claim"),
        (
            format!("update claims set state = 'running' where {}", event(1)),
            no_outcome,
        ),
        (
            format!("update claims set state = 'dead' where {}", event(1)),
            "a done receipt of a dead claim",
        ),
        (
            format!(
                "update receipts set outcome = 'retrying' where {} and outcome = 'done'",
                event(1)
            ),
            "a retrying receipt of a done claim",
        ),
        (without("retries", 2), "a retrying claim without a retry"),
        (
            format!("update claims set state = 'done' where {}", event(2)),
            "a retry of a claim that is not retrying",
        ),
        (
            without("dead_letters", 3),
            "a dead claim without a dead letter",
        ),
        (
            format!("update claims set state = 'done' where {}", event(3)),
            "a dead letter of a claim that is not dead",
        ),
    ] {
        let world = filled().await;
        world.execute(&sabotage).await;
        let found = world.store.imbalances(100).await.unwrap();
        assert!(
            found
                .iter()
                .any(|imbalance| imbalance.what.contains(reported)),
            "{sabotage}: {found:?}"
        );
        assert_eq!(world.store.imbalances(1).await.unwrap().len(), 1);
    }
}
