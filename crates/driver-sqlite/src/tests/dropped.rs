//! Tests claims of events whose receipts were dropped because they were old. No receipt shows how
//! such a claim was committed. hookbox itself drops no receipts today, so the tests drop them.

use super::*;
use hookbox_driver::{ClaimState, EventFilter, Ledger};

/// Claims an event on a route, and commits at once, as a faulty handler may do. So the event is
/// orphaned.
async fn orphan(store: &Sqlite, on: &str, envelope: &Envelope) {
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route(on), &[envelope]).await;
    assert_eq!(claimed.unwrap(), [Claimed::Fresh]);
    sqlx::raw_sql("commit")
        .execute(store.connection(&mut tx))
        .await
        .unwrap();
}

/// Returns how many events the store lists in this state.
async fn listed(store: &Sqlite, state: ClaimState) -> usize {
    let filter = EventFilter {
        state: Some(state),
        ..EventFilter::default()
    };
    let rows = store.events(&filter, None, 10).await.unwrap();
    assert!(rows.iter().all(|row| row.state == state), "{rows:?}");
    rows.len()
}

#[tokio::test]
async fn a_claim_without_receipts_counts_as_it_is_stored() {
    let world = World::new();
    let store = world.open().await;
    process(&store, "a", &[&envelope(1)]).await;
    orphan(&store, "a", &envelope(2)).await;
    world
        .execute(
            "begin immediate;
             delete from receipts where event < 2;
             update meta set value = '2' where key = 'receipts_kept_from';
             commit",
        )
        .await;
    let late = another_receipt(1, 1);
    let then = Then::Retry {
        after: Duration::ZERO,
    };
    assert_eq!(fail(&store, &late, 1, then).await, Recorded::Superseded);
    assert_eq!(process(&store, "a", &[&late]).await, [Claimed::Duplicate]);
    let event = store.event(&late.event.to_string()).await.unwrap();
    assert_eq!(event.unwrap().claims[0].state, ClaimState::Done);
    // The receipts of event 2 were not dropped.
    let second = another_receipt(2, 1);
    assert_eq!(would_claim(&store, "a", &second).await, Claimed::Orphaned);
    let event = store.event(&second.event.to_string()).await.unwrap();
    let claim = event.unwrap().claims.remove(0);
    assert_eq!((claim.state, claim.attempts), (ClaimState::Running, 0));
    assert_eq!(listed(&store, ClaimState::Done).await, 1);
    assert_eq!(listed(&store, ClaimState::Running).await, 1);
    let found = store.imbalances(10).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].event, Some(second.event));
    // When receipts of event 2 may have been dropped as well, nothing shows any more that it is
    // orphaned. So code that drops receipts must look for orphaned events first.
    world
        .execute("update meta set value = '3' where key = 'receipts_kept_from'")
        .await;
    assert_eq!(would_claim(&store, "a", &second).await, Claimed::Duplicate);
    assert_eq!(store.imbalances(10).await.unwrap(), []);
    close(store).await;
    world.end().await;
}

#[tokio::test]
async fn what_a_handler_commits_of_an_old_event_is_orphaned() {
    let world = World::new();
    let store = world.open().await;
    process(&store, "a", &[&envelope(1), &envelope(2)]).await;
    world
        .execute(
            "begin immediate;
             delete from receipts;
             update meta set value = '100' where key = 'receipts_kept_from';
             commit",
        )
        .await;
    orphan(&store, "b", &another_receipt(1, 1)).await;
    let again = another_receipt(1, 2);
    assert_eq!(would_claim(&store, "b", &again).await, Claimed::Orphaned);
    // A claim that hookbox itself commits must count as done, and a withdrawn claim must be gone.
    let (first, new) = (another_receipt(2, 1), envelope(3));
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route("b"), &[&first, &new]).await;
    assert_eq!(claimed.unwrap(), [Claimed::Fresh; 2]);
    let withdrawn = store.withdraw(&mut tx, &route("b"), &[new.event]).await;
    withdrawn.unwrap();
    let settled = store.settle(&mut tx, &route("b"), &[done(&first)]).await;
    settled.unwrap();
    store.commit(tx).await.unwrap();
    let again = another_receipt(2, 2);
    assert_eq!(would_claim(&store, "b", &again).await, Claimed::Duplicate);
    assert_eq!(would_claim(&store, "b", &new).await, Claimed::Fresh);
    assert_eq!(
        world
            .number(
                "select count(*) from claims
                 where route = 'b' and state = 'done' and attempts = 1"
            )
            .await,
        1
    );
    close(store).await;
    world.end().await;
}
