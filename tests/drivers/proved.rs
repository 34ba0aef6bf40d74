//! Handlers that commit or roll back the transaction that they borrow, break it, or change their
//! session. A worker runs them on RabbitMQ with PostgreSQL and on SQLite.

use hookbox_conformance::{BrokerHarness, StoreHarness, envelope, of_number};
use hookbox_driver::{Claimed, CommitError, DeadFilter, DeadReason, Ledger, Store};

use crate::embedded::Embedded;
use crate::probe::{Pair, route};
use crate::whole::{servers, settled, take};

both_pairs!(
    only_the_event_of_a_batch_that_rolls_back_is_orphaned,
    a_kill_before_an_end_is_recorded_runs_it_once_more,
    a_changed_session_costs_its_own_attempts_only,
    a_batch_whose_commit_fails_costs_only_the_faulty_event,
);

async fn only_the_event_of_a_batch_that_rolls_back_is_orphaned<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let ends = ["rolls-back", "rolls-back-and-fails"];
    let mut batch: Vec<_> = (0..6).map(of_number).collect();
    batch.insert(4, envelope(ends[1]));
    batch.insert(2, envelope(ends[0]));
    pair.publish(&batch).await;
    let worker = pair.work();
    let books = settled(&pair, |books| books.receipts() == 8).await;
    worker.stop().await;
    assert_eq!((books.done, books.dead), (6, 2));
    for number in 0..6 {
        let name = format!("number-{number}");
        assert_eq!(pair.stores.effects(&name).await, 1, "{name}");
    }
    for name in ends {
        // The handler wrote this effect after its own rollback, so the transaction of the worker
        // does not contain it. The effect must exist exactly once.
        assert_eq!(pair.stores.effects(name).await, 1, "{name}");
        let id = envelope(name).event.to_string();
        let event = pair.store.event(&id).await.unwrap().unwrap();
        let outcomes: Vec<_> = event.attempts.iter().map(|it| &*it.outcome).collect();
        assert_eq!(outcomes, ["broke_transaction"], "{name}");
    }
    let all = DeadFilter::default();
    for dead in pair.store.dead_list(&all, 0, 9).await.unwrap() {
        assert_eq!((dead.reason, dead.attempts), (DeadReason::Orphaned, 1));
    }
    pair.finish().await;
}

async fn a_kill_before_an_end_is_recorded_runs_it_once_more<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let event = envelope("rolls-back");
    pair.publish(std::slice::from_ref(&event)).await;
    let mut subscription = take(&pair).await;
    let delivery = subscription.next().await.unwrap();
    let mut tx = pair.store.begin_for_handler().await.unwrap();
    let claimed = pair.store.claim(&mut tx, &route(), &[&event]).await;
    assert_eq!(claimed.unwrap(), [Claimed::Fresh]);
    S::roll_back_raw(pair.store.connection(&mut tx)).await;
    S::effect(pair.store.connection(&mut tx), "rolls-back").await;
    let proof = pair.store.prove(&mut tx).await;
    assert!(
        matches!(proof, Err(CommitError::EndedByHandler { .. })),
        "{proof:?}"
    );
    // When a process dies, its failure is not recorded and its message is redelivered. Dropping the
    // transaction and the delivery has the same effect.
    drop((tx, delivery));
    subscription.close().await;
    let worker = pair.work();
    settled(&pair, |books| books.dead == 1).await;
    worker.stop().await;
    assert_eq!(
        pair.stores.effects("rolls-back").await,
        2,
        "the handler must have run a second time, in the worker"
    );
    let all = DeadFilter::default();
    let dead = pair.store.dead_list(&all, 0, 9).await.unwrap();
    assert_eq!(dead[0].reason, DeadReason::Orphaned);
    pair.finish().await;
}

async fn a_changed_session_costs_its_own_attempts_only<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let mut batch: Vec<_> = (0..4).map(of_number).collect();
    batch.push(envelope("leaves-1"));
    batch.push(envelope("changes-1"));
    batch.push(envelope("leaves-2"));
    pair.publish(&batch).await;
    let worker = pair.work();
    let books = settled(&pair, |books| books.done + books.dead == 7).await;
    worker.stop().await;
    assert_eq!((books.done, books.dead), (6, 1));
    let id = envelope("changes-1").event.to_string();
    let event = pair.store.event(&id).await.unwrap().unwrap();
    let outcomes: Vec<_> = event.attempts.iter().map(|it| &*it.outcome).collect();
    assert_eq!(outcomes, ["broke_transaction", "broke_transaction"]);
    let error = event.attempts[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("and did not change them back"), "{error}");
    assert_eq!(pair.stores.effects("changes-1").await, 0);
    for name in ["leaves-1", "leaves-2", "number-3"] {
        assert_eq!(pair.stores.effects(name).await, 1, "{name}");
        let id = envelope(name).event.to_string();
        let event = pair.store.event(&id).await.unwrap().unwrap();
        assert_eq!(event.attempts.len(), 0, "{name}");
    }
    pair.finish().await;
}

/// Checks a batch in which one event breaks a deferred constraint. The database checks the
/// constraint only at the commit, and does not report whose row breaks it.
async fn a_batch_whose_commit_fails_costs_only_the_faulty_event<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let mut batch: Vec<_> = (0..6).map(of_number).collect();
    batch.insert(3, envelope("defers-1"));
    pair.publish(&batch).await;
    let worker = pair.work();
    let books = settled(&pair, |books| books.done + books.dead == 7).await;
    worker.stop().await;
    let id = envelope("defers-1").event.to_string();
    let event = pair.store.event(&id).await.unwrap().unwrap();
    let outcomes: Vec<_> = event.attempts.iter().map(|it| &*it.outcome).collect();
    assert_eq!(outcomes, ["broke_transaction", "broke_transaction"]);
    assert_eq!(pair.stores.effects("defers-1").await, 0);
    for number in 0..6 {
        let innocent = of_number(number);
        let id = innocent.event.to_string();
        let event = pair.store.event(&id).await.unwrap().unwrap();
        let attempts = (event.attempts.len(), event.claims[0].attempts);
        assert_eq!(
            attempts,
            (0, 1),
            "event {number} must have one attempt and no failed one"
        );
        assert_eq!(pair.stores.effects(&format!("number-{number}")).await, 1);
    }
    assert_eq!((books.done, books.dead), (6, 1));
    pair.finish().await;
}
