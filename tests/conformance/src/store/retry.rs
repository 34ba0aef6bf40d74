//! The promises of a store for retries: each is due at its time, runs once, and is never lost.

use std::sync::Mutex;

use async_trait::async_trait;
use hookbox_driver::{
    AuditFilter, Claimed, DeadFilter, DueRetry, Ledger, Outcome, Recorded, Republish, Requeued,
    Store,
};
use hookbox_event::{Envelope, EventId, Redo, RouteName};

use super::{DEAD, LATER, NOW, claim, done, fail, finish, one, probe};
use crate::harness::{self, StoreHarness};
use crate::{envelope, of_number};

/// A publisher that records the due retries it is given, and confirms all of them or none.
struct Taker {
    confirms: bool,
    /// The routes whose retries this publisher takes. `None` means all routes.
    routes: Option<Vec<RouteName>>,
    taken: Mutex<Vec<DueRetry>>,
}

impl Taker {
    fn new(confirms: bool) -> Self {
        Self {
            confirms,
            routes: None,
            taken: Mutex::default(),
        }
    }

    fn envelopes(&self) -> Vec<Envelope> {
        let taken = self.taken.lock().expect("the lock must not be poisoned");
        taken.iter().map(|due| due.envelope.clone()).collect()
    }
}

#[async_trait]
impl Republish for Taker {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let mut taken = self.taken.lock().expect("the lock must not be poisoned");
        taken.extend(due.iter().map(|&due| due.clone()));
        vec![self.confirms; due.len()]
    }

    fn routes(&self) -> Option<&[RouteName]> {
        self.routes.as_deref()
    }
}

pub(crate) async fn requeue<S: Store>(store: &S, confirms: bool) -> (Requeued, Vec<Envelope>) {
    let taker = Taker::new(confirms);
    let requeued = store.requeue_due(10, &taker).await.expect("requeued");
    (requeued, taker.envelopes())
}

fn redo(attempt: u32) -> Envelope {
    Envelope {
        redo: Some(Redo { attempt }),
        ..envelope("a")
    }
}

/// Checks that a retry is not due before its time. The store has more waiting retries than one
/// query returns. They must not delay a retry that was stored after them and is due now.
pub async fn a_retry_is_not_due_early<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for number in 0..200 {
        fail(&*store, &of_number(number), 1, LATER).await;
    }
    assert_eq!(
        requeue(&*store, true).await,
        (Requeued::default(), Vec::new())
    );
    fail(&*store, &envelope("a"), 1, NOW).await;
    let (requeued, taken) = requeue(&*store, true).await;
    assert_eq!((requeued.confirmed, taken), (1, vec![redo(2)]));
    Store::close(&*store).await;
}

/// Checks a route that has no queue, because it was removed from the config. Its retries keep
/// waiting, and do not delay the retries of other routes.
pub async fn a_retry_of_a_route_without_a_queue_delays_no_other<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("a"), 1, NOW).await;
    let only = |route: &str| Taker {
        routes: Some(vec![route.parse().expect("a valid name")]),
        ..Taker::new(true)
    };
    let others = only("others");
    let requeued = store.requeue_due(10, &others).await.expect("requeued");
    assert_eq!(
        (requeued, others.envelopes()),
        (Requeued::default(), vec![])
    );
    let ours = only(harness::one().as_str());
    let requeued = store.requeue_due(10, &ours).await.expect("requeued");
    assert_eq!((requeued.confirmed, ours.envelopes()), (1, vec![redo(2)]));
    Store::close(&*store).await;
}

pub async fn a_due_retry_is_republished_before_it_is_marked<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("a"), 1, NOW).await;
    // The publisher does not confirm the publish, so the retry stays due.
    let (requeued, taken) = requeue(&*store, false).await;
    assert_eq!(
        requeued,
        Requeued {
            due: 1,
            confirmed: 0
        }
    );
    assert_eq!(
        taken,
        [redo(2)],
        "the published message must be the envelope with attempt 2"
    );
    let (requeued, taken) = requeue(&*store, true).await;
    assert_eq!(
        (requeued, taken),
        (
            Requeued {
                due: 1,
                confirmed: 1
            },
            vec![redo(2)]
        )
    );
    let (requeued, _) = requeue(&*store, true).await;
    assert_eq!(
        requeued,
        Requeued::default(),
        "a queued retry must not be published a second time"
    );
    Store::close(&*store).await;
}

/// A publisher that confirms every second retry of a call. For each call, it records the events of
/// the other retries.
#[derive(Default)]
struct EverySecond(Mutex<Vec<Vec<EventId>>>);

#[async_trait]
impl Republish for EverySecond {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let refused = due.iter().skip(1).step_by(2);
        let mut calls = self.0.lock().expect("the lock must not be poisoned");
        calls.push(refused.map(|due| due.envelope.event).collect());
        (0..due.len()).map(|at| at % 2 == 0).collect()
    }
}

/// Checks that the store gives due retries to the publisher in one call, so that they can share a
/// message, and marks only those as queued that the publisher has confirmed.
pub async fn due_retries_are_published_together_and_marked_one_by_one<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for number in 0..10 {
        fail(&*store, &of_number(number), 1, NOW).await;
    }
    let publisher = EverySecond::default();
    let requeued = store.requeue_due(100, &publisher).await.expect("requeued");
    assert_eq!((requeued.due, requeued.confirmed), (10, 5));
    let calls = publisher.0.into_inner();
    let mut calls = calls.expect("the lock must not be poisoned");
    assert_eq!(calls.len(), 1);
    calls[0].sort_unstable();
    let (requeued, taken) = requeue(&*store, true).await;
    let mut again: Vec<EventId> = taken.iter().map(|envelope| envelope.event).collect();
    again.sort_unstable();
    assert_eq!((requeued.due, again), (5, calls.remove(0)));
    Store::close(&*store).await;
}

pub async fn a_retry_published_twice_is_granted_once<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("a"), 1, NOW).await;
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 0,
    };
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &redo(2)).await, granted);
    H::effect(store.connection(&mut tx), "a").await;
    finish(&*store, tx, &redo(2), Outcome::Done { attempt: 2 }).await;
    assert_eq!(probe(&*store, &redo(2)).await, Claimed::Redelivered);
    assert_eq!(probe(&*store, &redo(3)).await, Claimed::Redelivered);
    assert_eq!(fail(&*store, &redo(2), 2, NOW).await, Recorded::Superseded);
    assert_eq!(requeue(&*store, true).await.0, Requeued::default());
    assert_eq!(world.effects("a").await, 1);
    let books = store.books().await.expect("read");
    assert_eq!((books[0].done, books[0].retrying), (1, 0));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn a_replayed_dead_letter_is_granted_again<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("a"), 1, NOW).await;
    assert_eq!(fail(&*store, &redo(2), 2, DEAD).await, Recorded::Recorded);
    let all = DeadFilter::default();
    assert_eq!(store.dead_discard(&all, 10, "ann").await.expect("done"), 1);
    assert_eq!(
        store.dead_replay(&all, 10, "ann").await.expect("done"),
        0,
        "a discarded dead letter must not be replayed"
    );
    assert_eq!(store.dead_restore(&all, 10, "ann").await.expect("done"), 1);
    assert_eq!(store.dead_replay(&all, 10, "ann").await.expect("done"), 1);
    assert_eq!(
        store.dead_replay(&all, 10, "ann").await.expect("done"),
        0,
        "a second replay must change nothing"
    );
    assert_eq!(
        store
            .audits(&AuditFilter::default(), None, 10)
            .await
            .expect("read")
            .len(),
        3
    );
    let (requeued, taken) = requeue(&*store, true).await;
    assert_eq!((requeued.confirmed, taken), (1, vec![redo(3)]));
    // The replay starts a new round of attempts. `attempts_before` counts the two attempts of the
    // earlier round.
    let granted = Claimed::Granted {
        attempt: 3,
        attempts_before: 2,
    };
    assert_eq!(probe(&*store, &redo(3)).await, granted);
    done(&*store, &redo(3)).await;
    assert_eq!(probe(&*store, &redo(3)).await, Claimed::Redelivered);
    let books = store.books().await.expect("read");
    assert_eq!((books[0].done, books[0].dead), (1, 0));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn the_backlog_counts_what_waits<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(store.backlog().await.expect("read"), []);
    fail(&*store, &envelope("due"), 1, NOW).await;
    fail(&*store, &envelope("later"), 1, LATER).await;
    fail(&*store, &envelope("dead"), 1, DEAD).await;
    done(&*store, &envelope("done")).await;
    let counted = async |retrying, due, dead| {
        let waiting = store.backlog().await.expect("read");
        let [waiting] = &waiting[..] else {
            panic!("expected exactly one route: {waiting:?}")
        };
        assert_eq!(waiting.route, one());
        let found = (waiting.retrying, waiting.due, waiting.dead);
        assert_eq!(found, (retrying, due, dead));
    };
    counted(2, 1, 1).await;
    // The retry that was due is published. Its event still counts as retrying, but its retry is no
    // longer due.
    assert_eq!(requeue(&*store, true).await.0.confirmed, 1);
    counted(2, 0, 1).await;
    let all = DeadFilter::default();
    assert_eq!(store.dead_discard(&all, 10, "ann").await.expect("done"), 1);
    counted(2, 0, 0).await;
    Store::close(&*store).await;
}
