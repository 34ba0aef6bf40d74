//! The promises of a store when two processes work at once, and when the future of an operation is
//! dropped before it is complete.

use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hookbox_driver::{
    Claimed, CommitError, DueRetry, FaultKind, Ledger, Outcome, ReceiptOutcome, Recorded,
    Republish, Store, Then,
};
use hookbox_event::Envelope;
use hookbox_testkit::eventually::eventually_is;

use super::{DEAD, LATER, NOW, claim, done, fail, probe};
use crate::harness::{StoreHarness, one};
use crate::{envelope, of_number, with_receipt};

/// The longest wait for an operation that must end by itself. It is this long because the machine
/// may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does what a worker does with one envelope: claims it, writes the effect of a handler, and
/// commits. Returns the result of the claim.
pub(super) async fn work<H: StoreHarness>(
    store: &H::Store,
    envelope: &Envelope,
    key: &str,
) -> Result<Claimed, CommitError> {
    let mut tx = store.begin().await?;
    let claimed = store.claim(&mut tx, &one(), &[envelope]).await?[0];
    let attempt = match claimed {
        Claimed::Fresh => 1,
        Claimed::Granted { attempt, .. } => attempt,
        Claimed::Redelivered | Claimed::Duplicate | Claimed::Conflict | Claimed::Orphaned => {
            store.rollback(tx).await;
            return Ok(claimed);
        }
    };
    H::effect(store.connection(&mut tx), key).await;
    let outcome = Outcome::Done { attempt };
    let settled = [ReceiptOutcome {
        envelope,
        outcome,
        other_digest: None,
    }];
    store.settle(&mut tx, &one(), &settled).await?;
    store.commit(tx).await?;
    Ok(claimed)
}

/// How often an operation must be completed before a test has cancelled it at every point. The test
/// cancels the operation after no poll, after one poll, after two, and so on. One completion is not
/// enough, because the operation may need more polls the next time.
pub(super) const COMPLETIONS: u32 = 8;

/// Polls a future until it is ready, but at most `polls` times, and then drops it. Dropping it
/// cancels the operation at the point that it has reached. Returns `None` if it was cancelled.
pub(super) async fn poll_so_often<T>(future: impl Future<Output = T>, polls: u32) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// H8: drops the future of a unit of work at each point where it waits, also during settling and
/// commit. Checks that the next unit of work gets a usable connection, and that each event has one
/// effect.
pub async fn a_unit_of_work_cut_anywhere_has_one_effect<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut cut = 0;
    for polls in 0..150 {
        let (key, next) = (format!("cut-{polls}"), format!("next-{polls}"));
        let unit = envelope(&key);
        if poll_so_often(work::<H>(&store, &unit, &key), polls)
            .await
            .is_none()
        {
            cut += 1;
        }
        let after = work::<H>(&store, &envelope(&next), &next).await;
        assert_eq!(after.expect("worked"), Claimed::Fresh);
        assert_eq!(world.effects(&next).await, 1, "after {polls} polls");
        // The commit may have succeeded although its future was dropped. So the same work is done
        // again, and the claim shows whether the commit had succeeded.
        let again = work::<H>(&store, &unit, &key).await.expect("worked");
        assert!(
            matches!(again, Claimed::Fresh | Claimed::Redelivered),
            "{again:?}"
        );
        assert_eq!(world.effects(&key).await, 1, "after {polls} polls");
    }
    assert!(cut > 0, "at least one transaction must have been cancelled");
    assert_eq!(store.books().await.expect("read")[0].done, 300);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a failure is stored completely or not at all, when the future that records it is
/// dropped at any point.
pub async fn a_failure_cut_anywhere_is_whole_or_nothing<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let mut cut = 0;
    for then in [LATER, DEAD] {
        for polls in 0..60 {
            let one = envelope(&format!("{polls}-{}", then == DEAD));
            let recorded = poll_so_often(fail(&*store, &one, 1, then), polls).await;
            cut += u32::from(recorded.is_none());
            // The dropped operation may still run in the store and hold the lock of the event. The
            // next call waits until that operation has ended.
            let again = fail(&*elsewhere, &one, 1, then).await;
            if recorded.is_some() {
                assert_eq!(again, Recorded::Superseded, "after {polls} polls");
            }
            let id = one.event.to_string();
            let event = elsewhere
                .event(&id)
                .await
                .expect("read")
                .expect("the event must exist");
            assert_eq!((event.attempts.len(), event.claims[0].attempts), (1, 1));
            assert_eq!(event.retries.len(), usize::from(then == LATER));
            assert_eq!(event.receipts.len(), 1);
        }
    }
    assert!(cut > 0, "at least one failure must have been cancelled");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that a lock of another open transaction is reported as contention, and that the work
/// succeeds when that transaction has ended.
pub async fn a_busy_lock_is_contention<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let (mine, theirs) = (with_receipt("a", 1), with_receipt("a", 2));
    let mut held = elsewhere.begin().await.expect("begun");
    assert_eq!(claim(&*elsewhere, &mut held, &theirs).await, Claimed::Fresh);
    match work::<H>(&store, &mine, "a").await {
        Err(CommitError::Fault(fault)) => assert_eq!(fault.kind(), FaultKind::Contention),
        other => panic!("{other:?}"),
    }
    elsewhere.rollback(held).await;
    let worked = work::<H>(&store, &mine, "a").await.expect("worked");
    assert_eq!(worked, Claimed::Fresh);
    assert_eq!(probe(&*elsewhere, &theirs).await, Claimed::Duplicate);
    assert_eq!(world.effects("a").await, 1);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that a failure counts once if two processes record it at the same time. If a retry has
/// two messages, only one of them runs the handler.
pub async fn two_processes_at_once_count_once<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    for number in 0..20 {
        let event = of_number(number);
        let (left, right) = tokio::join!(
            fail(&*store, &event, 1, NOW),
            fail(&*elsewhere, &event, 1, NOW)
        );
        let recorded = [left, right];
        let counted = recorded.iter().filter(|it| **it == Recorded::Recorded);
        assert_eq!(counted.count(), 1, "{recorded:?}");
        let taken = requeued(&*store).await;
        let [retry] = &taken[..] else {
            panic!("expected exactly one retry: {taken:?}")
        };
        let key = format!("retried-{number}");
        let (left, right) = tokio::join!(
            work::<H>(&store, retry, &key),
            work::<H>(&elsewhere, retry, &key)
        );
        let mut both = [left.expect("worked"), right.expect("worked")];
        both.sort_by_key(|claimed| *claimed == Claimed::Redelivered);
        let granted = Claimed::Granted {
            attempt: 2,
            attempts_before: 0,
        };
        assert_eq!(both, [granted, Claimed::Redelivered]);
        assert_eq!(world.effects(&key).await, 1);
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

pub(super) async fn requeued<S: Store>(store: &S) -> Vec<Envelope> {
    let taker = Taker::default();
    store.requeue_due(100, &taker).await.expect("requeued");
    taker.0.into_inner().expect("the lock must not be poisoned")
}

/// A publisher that records every retry it is given, and confirms its publish.
#[derive(Default)]
struct Taker(Mutex<Vec<Envelope>>);

#[async_trait]
impl Republish for Taker {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let mut taken = self.0.lock().expect("the lock must not be poisoned");
        taken.extend(due.iter().map(|due| due.envelope.clone()));
        vec![true; due.len()]
    }
}

/// A publisher that checks, through another process, whether the retry it is given is already
/// marked as queued. It then confirms the publish if `confirms` is true and rejects it if
/// `confirms` is false. If `confirms` is `None`, its call never returns.
struct Looking<'a, S> {
    elsewhere: &'a S,
    confirms: Option<bool>,
    marked: Mutex<Vec<bool>>,
}

#[async_trait]
impl<S: Ledger> Republish for Looking<'_, S> {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        for due in due {
            let marked = is_marked(self.elsewhere, &due.envelope).await;
            let mut all = self.marked.lock().expect("the lock must not be poisoned");
            all.push(marked);
        }
        match self.confirms {
            Some(confirms) => vec![confirms; due.len()],
            None => std::future::pending().await,
        }
    }
}

async fn is_marked<S: Ledger>(store: &S, envelope: &Envelope) -> bool {
    let id = envelope.event.to_string();
    let event = store
        .event(&id)
        .await
        .expect("read")
        .expect("the event must exist");
    event.retries[0].queued_at.is_some()
}

/// Checks that a retry is not marked as queued while it is being published, and stays due when its
/// publish does not finish.
pub async fn a_retry_is_marked_after_its_publish_only<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let event = envelope("a");
    fail(&*store, &event, 1, NOW).await;
    for confirms in [Some(false), None, Some(false), Some(true)] {
        let looking = Looking {
            elsewhere: &*elsewhere,
            confirms,
            marked: Mutex::default(),
        };
        // The check is repeated. The future that an earlier check has dropped may leave a
        // transaction that holds the lock of the retry for a moment longer, and a locked retry is
        // skipped.
        let took = async || {
            // A publish that never returns is cancelled after a short time. The other publishes
            // return by themselves.
            let patience = match confirms {
                Some(_) => PATIENCE,
                None => Duration::from_millis(300),
            };
            let _ = tokio::time::timeout(patience, store.requeue_due(10, &looking)).await;
            looking
                .marked
                .lock()
                .expect("the lock must not be poisoned")
                .len()
        };
        eventually_is(
            "the scheduler must give the due retry to the publisher",
            took,
            |taken| *taken > 0,
        )
        .await;
        let marked = looking
            .marked
            .into_inner()
            .expect("the lock must not be poisoned");
        assert!(
            !marked.contains(&true),
            "the retry must not be marked before its publish is confirmed"
        );
        let now = is_marked(&*elsewhere, &event).await;
        assert_eq!(now, confirms == Some(true), "{confirms:?}");
    }
    assert_eq!(requeued(&*elsewhere).await, []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that a retry is due at its time by the store's clock, and not before.
pub async fn a_retry_comes_when_it_is_due<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let after = Duration::from_millis(700);
    let began = Instant::now();
    fail(&*store, &envelope("a"), 1, Then::Retry { after }).await;
    let due = async || requeued(&*store).await;
    let due = eventually_is("the retry must become due", due, |due| !due.is_empty()).await;
    // The clock of the database may be adjusted during the wait. So the retry may be 50 ms early.
    let waited = began.elapsed() + Duration::from_millis(50);
    assert!(
        waited >= after,
        "the retry must not be due early, but was after {waited:?}"
    );
    assert_eq!(due.len(), 1);
    assert_eq!(
        requeued(&*store).await,
        [],
        "the retry must not be queued a second time"
    );
    Store::close(&*store).await;
}

/// Checks that a store detects a handler that rolls back its own transaction. Here the handler has
/// written nothing after the rollback, so its event must be able to run again.
pub async fn a_handler_that_rolls_back_is_detected<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let event = envelope("a");
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &event).await, Claimed::Fresh);
    H::effect(store.connection(&mut tx), "a").await;
    H::roll_back_raw(store.connection(&mut tx)).await;
    let outcome = Outcome::Done { attempt: 1 };
    let settled = [ReceiptOutcome {
        envelope: &event,
        outcome,
        other_digest: None,
    }];
    let answer = match store.settle(&mut tx, &one(), &settled).await {
        Ok(()) => store.commit(tx).await,
        Err(error) => {
            store.rollback(tx).await;
            Err(error)
        }
    };
    assert!(
        matches!(
            answer,
            Err(CommitError::BrokenByHandler { .. } | CommitError::EndedByHandler { .. })
        ),
        "{answer:?}"
    );
    assert_eq!(world.effects("a").await, 0);
    done(&*store, &event).await;
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a store which becomes unreachable during a handler's statement is reported as
/// unavailable.
pub async fn a_handlers_lost_connection_is_unavailable<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    let error = world.lose(store.connection(&mut tx)).await;
    let diagnosed = store.diagnose(&*error);
    assert_eq!(diagnosed, Some(FaultKind::Unavailable), "{error:?}");
    drop(tx);
    world.restore().await;
    done(&*store, &envelope("a")).await;
    Store::close(&*store).await;
}
