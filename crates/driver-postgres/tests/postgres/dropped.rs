//! Tests claims of events whose receipts were dropped because they were old. No receipt shows how
//! such a claim was committed. hookbox itself drops no receipts today, so the tests drop them.

use hookbox_driver::{
    ClaimState, Claimed, EventFilter, Ledger, Outcome, ReceiptOutcome, Recorded, Store,
};
use hookbox_event::Envelope;
use sqlx::Executor;

use crate::world::{ROUTE, World, again, envelope, route};

/// Drops the receipts of all events with numbers below `below`.
async fn drop_receipts(world: &World, below: i64) {
    world
        .execute(&format!(
            "begin;
             delete from receipts where event < {below};
             update meta set value = '{below}' where key = 'receipts_kept_from';
             commit"
        ))
        .await;
}

/// Claims an event on a route, and commits at once, as a faulty handler may do. So the event is
/// orphaned.
async fn orphan(world: &World, on: &str, envelope: &Envelope) {
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world.store.claim(&mut tx, &route(on), &[envelope]).await;
    assert_eq!(claimed.unwrap(), [Claimed::Fresh]);
    let connection = world.store.connection(&mut tx);
    connection.execute("commit").await.unwrap();
}

/// Returns what claiming the envelope on a route would return.
async fn peek(world: &World, on: &str, envelope: &Envelope) -> Claimed {
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world.store.claim(&mut tx, &route(on), &[envelope]).await;
    world.store.rollback(tx).await;
    claimed.unwrap()[0]
}

/// Returns how many events the store lists in this state.
async fn listed(world: &World, state: ClaimState) -> usize {
    let filter = EventFilter {
        state: Some(state),
        ..EventFilter::default()
    };
    let rows = world.store.events(&filter, None, 10).await.unwrap();
    assert!(rows.iter().all(|row| row.state == state), "{rows:?}");
    rows.len()
}

#[tokio::test]
async fn a_claim_without_receipts_counts_as_it_is_stored() {
    let world = World::new().await;
    world.process(&envelope(1, 1, "{}"), "e").await;
    orphan(&world, ROUTE, &envelope(2, 2, "{}")).await;
    drop_receipts(&world, 2).await;
    let late = envelope(1, 11, "{}");
    assert_eq!(world.fail(&late, 1, again()).await, Recorded::Superseded);
    assert_eq!(world.process(&late, "e").await, Claimed::Duplicate);
    assert_eq!(world.effects("e").await, 1);
    let event = world.store.event(&late.event.to_string()).await.unwrap();
    assert_eq!(event.unwrap().claims[0].state, ClaimState::Done);
    // The receipts of event 2 were not dropped.
    let second = envelope(2, 12, "{}");
    assert_eq!(world.peek(&second).await, Claimed::Orphaned);
    let event = world.store.event(&second.event.to_string()).await.unwrap();
    let claim = event.unwrap().claims.remove(0);
    assert_eq!((claim.state, claim.attempts), (ClaimState::Running, 0));
    assert_eq!(listed(&world, ClaimState::Done).await, 1);
    assert_eq!(listed(&world, ClaimState::Running).await, 1);
    let found = world.store.imbalances(10).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].event, Some(second.event));
    // When receipts of event 2 may have been dropped as well, nothing shows any more that it is
    // orphaned. So code that drops receipts must look for orphaned events first.
    drop_receipts(&world, 3).await;
    assert_eq!(world.peek(&second).await, Claimed::Duplicate);
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_a_handler_commits_of_an_old_event_is_orphaned() {
    let world = World::new().await;
    let (old, older) = (envelope(1, 1, "{}"), envelope(2, 2, "{}"));
    world.process(&old, "e").await;
    world.process(&older, "e").await;
    drop_receipts(&world, 100).await;
    orphan(&world, "another", &envelope(1, 11, "{}")).await;
    let again = envelope(1, 12, "{}");
    assert_eq!(peek(&world, "another", &again).await, Claimed::Orphaned);
    // A claim that hookbox itself commits must count as done, and a withdrawn claim must be gone.
    let (first, new) = (envelope(2, 21, "{}"), envelope(3, 31, "{}"));
    let another = route("another");
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world.store.claim(&mut tx, &another, &[&first, &new]).await;
    assert_eq!(claimed.unwrap(), [Claimed::Fresh; 2]);
    let withdrawn = world.store.withdraw(&mut tx, &another, &[new.event]).await;
    withdrawn.unwrap();
    let done = ReceiptOutcome {
        envelope: &first,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    };
    let settled = world.store.settle(&mut tx, &another, &[done]).await;
    settled.unwrap();
    world.store.commit(tx).await.unwrap();
    let again = envelope(2, 22, "{}");
    assert_eq!(peek(&world, "another", &again).await, Claimed::Duplicate);
    assert_eq!(peek(&world, "another", &new).await, Claimed::Fresh);
    let done = "select count(*) from claims
                where route = 'another' and state = 'done' and attempts = 1";
    assert_eq!(world.number(done).await, 1);
}
