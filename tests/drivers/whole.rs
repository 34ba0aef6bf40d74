//! Promises that need a broker, a worker and a store together, such as one effect for each event.
//! Each promise is tested on RabbitMQ with PostgreSQL, and on SQLite as broker and store.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookbox_conformance::{
    BrokerHarness, StoreHarness, another_body, envelope, of_number, with_receipt,
};
use hookbox_driver::{
    Batch, Broker, Claimed, DeadFilter, DeadReason, Ledger, Outcome, Queue, ReceiptOutcome,
    RouteBooks, Store, Subscription,
};
use hookbox_testkit::eventually::eventually_is;

use crate::embedded::Embedded;
use crate::probe::{Pair, route};
use crate::servers::{InPostgres, InRabbit};

/// Makes one test for each of the given functions. The test runs the function on one pair of
/// drivers.
macro_rules! whole_suite {
    ($name:ident, $pair:expr, $($case:ident),+ $(,)?) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let (brokers, stores) = $pair.await;
                    super::$case(Pair::open(brokers, stores).await).await;
                }
            )+
        }
    };
}

macro_rules! both_pairs {
    ($($case:ident),+ $(,)?) => {
        whole_suite!(rabbitmq_postgres, servers(), $($case),+);
        whole_suite!(sqlite_alone, Embedded::pair(), $($case),+);
    };
}

both_pairs!(
    a_duplicate_has_one_effect,
    a_failing_event_costs_its_neighbours_nothing,
    a_conflict_is_kept,
    exhaustion_dead_letters_once_and_a_replay_succeeds_once,
    panics_time_limits_and_broken_transactions_are_failures,
    a_handler_that_commits_is_never_run_again,
    a_crash_between_commit_and_ack_has_one_effect,
    a_crash_before_commit_runs_again,
    a_store_outage_consumes_no_attempts,
    undecodable_bytes_end_as_a_dead_letter,
);

pub async fn servers() -> (InRabbit, InPostgres) {
    (InRabbit::new().await, InPostgres::new().await)
}

pub async fn settled<B, S>(pair: &Pair<B, S>, wanted: impl Fn(&RouteBooks) -> bool) -> RouteBooks
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    eventually_is(
        "the outcomes of the route must have the wanted counts",
        async || pair.books().await,
        wanted,
    )
    .await
}

async fn a_duplicate_has_one_effect<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    // The first batch has two receipts of event `a`, and the second batch a third one.
    pair.publish(&[envelope("a"), with_receipt("a", 2), envelope("b")])
        .await;
    pair.publish(&[with_receipt("a", 3)]).await;
    let worker = pair.work();
    let books = settled(&pair, |books| books.receipts() == 4).await;
    assert_eq!((books.done, books.duplicate), (2, 2));
    worker.stop().await;
    assert_eq!(pair.stores.effects("a").await, 1);
    pair.finish().await;
}

async fn a_failing_event_costs_its_neighbours_nothing<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let mut batch: Vec<_> = (0..8).map(of_number).collect();
    batch.insert(4, envelope("never-this"));
    pair.publish(&batch).await;
    let worker = pair.work();
    let books = settled(&pair, |books| books.receipts() == 9).await;
    assert_eq!((books.done, books.dead), (8, 1));
    worker.stop().await;
    assert_eq!(
        pair.stores.effects("never-this").await,
        0,
        "the effect of the event that its handler rejects must be rolled back"
    );
    assert_eq!(pair.stores.effects("number-7").await, 1);
    let dead = pair
        .store
        .dead_list(&DeadFilter::default(), 0, 9)
        .await
        .unwrap();
    assert_eq!(
        (dead[0].reason, dead[0].attempts),
        (DeadReason::Rejected, 1)
    );
    pair.finish().await;
}

async fn a_conflict_is_kept<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    // Both bodies of the event are in one batch. The first one becomes the body of the event. The
    // second one is a conflict.
    pair.publish(&[envelope("a"), another_body("a", 2)]).await;
    let worker = pair.work();
    settled(&pair, |books| books.receipts() == 2).await;
    // The second body arrives once more, after it was recorded as a conflict. Now it is a duplicate
    // of that conflict.
    pair.publish(&[another_body("a", 3)]).await;
    let books = settled(&pair, |books| books.receipts() == 3).await;
    assert_eq!((books.done, books.conflict, books.duplicate), (1, 1, 1));
    let all = DeadFilter::default();
    let dead = pair.store.dead_list(&all, 0, 9).await.unwrap();
    assert_eq!((dead.len(), dead[0].reason), (1, DeadReason::Conflict));
    let dead_letter = pair.store.dead_show(dead[0].id).await.unwrap().unwrap();
    assert_eq!(dead_letter.history.body, another_body("a", 2).body);
    // An operator decides that the second body is a separate event, and replays its dead letter.
    assert_eq!(pair.store.dead_replay(&all, 9, "ann").await.unwrap(), 1);
    let effects = async || pair.stores.effects("a").await;
    eventually_is(
        "both the first body and the replayed conflict must have an effect",
        effects,
        |effects| *effects == 2,
    )
    .await;
    worker.stop().await;
    assert_eq!(
        pair.books().await.conflict,
        1,
        "a replayed conflict must still count as a conflict"
    );
    pair.finish().await;
}

async fn exhaustion_dead_letters_once_and_a_replay_succeeds_once<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    pair.publish(&[envelope("fails-always")]).await;
    let worker = pair.work();
    settled(&pair, |books| books.dead == 1).await;
    let all = DeadFilter::default();
    let dead = pair.store.dead_list(&all, 0, 9).await.unwrap();
    assert_eq!(
        (dead.len(), dead[0].reason, dead[0].attempts),
        (1, DeadReason::Exhausted, 2)
    );
    let dead_letter = pair.store.dead_show(dead[0].id).await.unwrap().unwrap();
    let history: Vec<_> = dead_letter
        .history
        .attempts
        .iter()
        .map(|it| it.outcome.as_str())
        .collect();
    assert_eq!(history, ["transient", "transient"]);
    assert_eq!(pair.stores.effects("fails-always").await, 0);
    // From here on the handler no longer fails for this event.
    pair.failing.store(false, Ordering::SeqCst);
    assert_eq!(pair.store.dead_replay(&all, 9, "ann").await.unwrap(), 1);
    assert_eq!(pair.store.dead_replay(&all, 9, "ann").await.unwrap(), 0);
    settled(&pair, |books| books.done == 1).await;
    worker.stop().await;
    assert_eq!(pair.stores.effects("fails-always").await, 1);
    pair.finish().await;
}

async fn panics_time_limits_and_broken_transactions_are_failures<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let bad = ["panics-1", "hangs-1", "spoils-1"];
    let mut batch: Vec<_> = bad.iter().map(|name| envelope(name)).collect();
    batch.push(envelope("good"));
    pair.publish(&batch).await;
    // This time limit ends the handler that hangs. The other handlers are done long before it.
    let worker = pair.work_within(Duration::from_secs(3));
    let books = settled(&pair, |books| books.dead == 3).await;
    assert_eq!((books.done, books.receipts()), (1, 4));
    worker.stop().await;
    for (name, class) in bad
        .iter()
        .zip(["panicked", "timed_out", "broke_transaction"])
    {
        assert_eq!(pair.stores.effects(name).await, 0, "{name}");
        let id = envelope(name).event.to_string();
        let event = pair.store.event(&id).await.unwrap().unwrap();
        let outcomes: Vec<_> = event
            .attempts
            .iter()
            .map(|it| it.outcome.as_str())
            .collect();
        assert_eq!(outcomes, [class, class], "{name}");
    }
    assert_eq!(pair.stores.effects("good").await, 1);
    pair.finish().await;
}

async fn a_handler_that_commits_is_never_run_again<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    pair.publish(&[envelope("commits-itself")]).await;
    let worker = pair.work();
    settled(&pair, |books| books.dead == 1).await;
    worker.stop().await;
    let dead = pair
        .store
        .dead_list(&DeadFilter::default(), 0, 9)
        .await
        .unwrap();
    assert_eq!(dead[0].reason, DeadReason::Orphaned);
    assert_eq!(pair.stores.effects("commits-itself").await, 1);
    pair.finish().await;
}

async fn a_crash_between_commit_and_ack_has_one_effect<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    pair.publish(&[envelope("a")]).await;
    let mut subscription = take(&pair).await;
    let delivery = subscription.next().await.unwrap();
    let mut tx = pair.store.begin().await.unwrap();
    let claimed = pair
        .store
        .claim(&mut tx, &route(), &[&envelope("a")])
        .await
        .unwrap();
    assert_eq!(claimed, [Claimed::Fresh]);
    S::effect(pair.store.connection(&mut tx), "a").await;
    let of = envelope("a");
    let done = ReceiptOutcome {
        envelope: &of,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    };
    pair.store.settle(&mut tx, &route(), &[done]).await.unwrap();
    pair.store.commit(tx).await.unwrap();
    // When a process dies, its unsettled messages are redelivered. Dropping the delivery has the
    // same effect on its message.
    drop(delivery);
    subscription.close().await;
    let worker = pair.work();
    let redelivered = || {
        worker.counters.routes[&route()]
            .redelivered
            .load(Ordering::SeqCst)
    };
    eventually_is(
        "the worker must count one redelivered message",
        async || redelivered(),
        |count| *count == 1,
    )
    .await;
    worker.stop().await;
    assert_eq!(pair.stores.effects("a").await, 1);
    let books = pair.books().await;
    assert_eq!(
        (books.done, books.duplicate),
        (1, 0),
        "a receipt that is redelivered after its commit must be counted once"
    );
    pair.finish().await;
}

async fn a_crash_before_commit_runs_again<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    pair.publish(&[envelope("a")]).await;
    let mut subscription = take(&pair).await;
    let delivery = subscription.next().await.unwrap();
    let mut tx = pair.store.begin().await.unwrap();
    pair.store
        .claim(&mut tx, &route(), &[&envelope("a")])
        .await
        .unwrap();
    S::effect(pair.store.connection(&mut tx), "a").await;
    drop((tx, delivery));
    subscription.close().await;
    let worker = pair.work();
    settled(&pair, |books| books.done == 1).await;
    worker.stop().await;
    assert_eq!(pair.stores.effects("a").await, 1);
    pair.finish().await;
}

async fn a_store_outage_consumes_no_attempts<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    pair.publish(&(0..5).map(of_number).collect::<Vec<_>>())
        .await;
    pair.stores.sever().await;
    let worker = pair.work();
    let faults = || {
        worker.counters.routes[&route()]
            .faults
            .load(Ordering::SeqCst)
    };
    let tried = eventually_is(
        "the worker must count a fault",
        async || faults(),
        |count| *count > 0,
    );
    // On SQLite the broker is in the same locked file as the store. So no event is delivered and
    // there is no fault to count while the file is locked. This wait then ends at its time limit.
    let _ = tokio::time::timeout(Duration::from_secs(3), tried).await;
    pair.stores.restore().await;
    let books = settled(&pair, |books| books.receipts() == 5).await;
    assert_eq!((books.done, books.dead, books.retrying), (5, 0, 0));
    worker.stop().await;
    for number in 0..5 {
        let id = of_number(number).event.to_string();
        let event = pair.store.event(&id).await.unwrap().unwrap();
        assert_eq!(
            (event.claims[0].attempts, event.attempts.len()),
            (1, 0),
            "the outage of the store must use up no attempt of an event"
        );
    }
    pair.finish().await;
}

async fn undecodable_bytes_end_as_a_dead_letter<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let mut strange = Batch::of(&[envelope("a")]).unwrap();
    strange.bytes = Bytes::from_static(b"not a batch at all");
    pair.broker.publish(&[route()], &strange).await.unwrap();
    pair.publish(&[envelope("good")]).await;
    let worker = pair.work();
    settled(&pair, |books| books.done == 1).await;
    let all = DeadFilter::default();
    let count = async || pair.store.dead_count(&all).await.unwrap();
    eventually_is(
        "the undecodable bytes must become a dead letter",
        count,
        |count| *count == 1,
    )
    .await;
    worker.stop().await;
    let dead = pair.store.dead_list(&all, 0, 9).await.unwrap();
    assert_eq!(dead[0].reason, DeadReason::Undecodable);
    let dead_letter = pair.store.dead_show(dead[0].id).await.unwrap().unwrap();
    assert_eq!(dead_letter.history.body, strange.bytes);
    pair.finish().await;
}

pub async fn take<B, S>(pair: &Pair<B, S>) -> Box<dyn Subscription>
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    pair.broker
        .subscribe(&Queue::Route(route()), 1)
        .await
        .unwrap()
}
