//! The promises of a store for routes that apply only the newest event of each key, when several
//! workers work at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use futures_util::future::join_all;
use hookbox_driver::VersionStanding::{Current, Stale};
use hookbox_driver::{
    Claimed, CommitError, FaultKind, Ledger, Outcome, ReceiptOutcome, Recorded, Store,
    VersionedEvent,
};
use hookbox_event::{Envelope, Redo};

use super::newest::{again, versioned};
use super::{NOW, fail};
use crate::harness::{StoreHarness, one};
use crate::{of_number, with_receipt};

/// The number of races between two events of one key.
const RACES: usize = 100;

/// How many workers share the events of a run.
const WORKERS: usize = 10;
/// How many events the workers share.
const EVENTS: usize = 60;

/// The versions that were applied to each key, in the order of the commits: a transaction adds its
/// version while it holds the lock of the key.
type Applied = Mutex<BTreeMap<u8, Vec<u32>>>;

/// The kind of a handler: whether it is trusted (`Handler::TRUSTED`), and whether it fails.
#[derive(Clone, Copy)]
struct OfHandler {
    is_trusted: bool,
    fails: bool,
}

const TRUSTED: OfHandler = OfHandler {
    is_trusted: true,
    fails: false,
};

const UNTRUSTED: OfHandler = OfHandler {
    is_trusted: false,
    ..TRUSTED
};

/// Processes one event as a worker does, and tries again after each contention. Returns the result
/// of the claim.
async fn work<H: StoreHarness>(
    store: &H::Store,
    of: &Envelope,
    (key, version): (u8, u32),
    handler: OfHandler,
    applied: &Applied,
) -> Claimed {
    loop {
        match try_work::<H>(store, of, (key, version), handler, applied).await {
            Ok(claimed) => return claimed,
            Err(CommitError::Fault(fault)) => {
                assert_eq!(fault.kind(), FaultKind::Contention, "{fault:?}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn try_work<H: StoreHarness>(
    store: &H::Store,
    of: &Envelope,
    (key, version): (u8, u32),
    handler: OfHandler,
    applied: &Applied,
) -> Result<Claimed, CommitError> {
    let mut tx = if handler.is_trusted {
        store.begin().await?
    } else {
        store.begin_for_handler().await?
    };
    let claimed = store.claim(&mut tx, &one(), &[of]).await?[0];
    let attempt = match claimed {
        Claimed::Fresh => Some(1),
        Claimed::Granted { attempt, .. } => Some(attempt),
        Claimed::Duplicate => None,
        Claimed::Redelivered | Claimed::Conflict | Claimed::Orphaned => {
            store.rollback(tx).await;
            return Ok(claimed);
        }
    };
    let mut outcome = Outcome::Duplicate;
    if let Some(attempt) = attempt {
        let event = versioned(of, key, &version.to_string());
        outcome = match store.compare_versions(&mut tx, &one(), &[event]).await?[..] {
            [Current] => Outcome::Done { attempt },
            [Stale] => Outcome::Stale,
            ref other => panic!("{other:?}"),
        };
    }
    let is_done = matches!(outcome, Outcome::Done { .. });
    if is_done {
        H::effect(store.connection(&mut tx), &key.to_string()).await;
        if handler.fails {
            store.rollback(tx).await;
            return Ok(claimed);
        }
        let mut applied = applied.lock().expect("the lock must not be poisoned");
        applied.entry(key).or_default().push(version);
    }
    let settled = [ReceiptOutcome {
        envelope: of,
        outcome,
        other_digest: None,
    }];
    let ended = match store.settle(&mut tx, &one(), &settled).await {
        Ok(()) => store.commit(tx).await,
        Err(error) => Err(error),
    };
    if ended.is_err() && is_done {
        let mut applied = applied.lock().expect("the lock must not be poisoned");
        applied.entry(key).or_default().pop();
    }
    ended.map(|()| claimed)
}

pub async fn of_two_concurrent_events_of_one_key_the_older_is_stale<H: StoreHarness>(world: &H) {
    race::<H>(world, TRUSTED).await;
}

pub async fn of_two_events_of_an_untrusted_handler_the_older_is_stale<H: StoreHarness>(world: &H) {
    race::<H>(world, UNTRUSTED).await;
}

/// Lets two workers process two events of one key at the same time.
async fn race<H: StoreHarness>(world: &H, handler: OfHandler) {
    let (left, right) = (world.open().await, world.open().await);
    for race in 0..RACES {
        let applied = Applied::default();
        let key = u8::try_from(race).expect("the number of a race must fit 8 bits");
        // The row of the key is stored before the race. Otherwise one worker would wait until the
        // other one has inserted the row, and this wait would keep the two from racing.
        let first = of_number(1_000 + race);
        work::<H>(&left, &first, (key, 0), handler, &Applied::default()).await;
        let (older, newer) = (of_number(2 * race), of_number(2 * race + 1));
        tokio::join!(
            work::<H>(&left, &older, (key, 1), handler, &applied),
            work::<H>(&right, &newer, (key, 2), handler, &applied),
        );
        let applied = applied.into_inner().expect("the lock must not be poisoned");
        let applied = applied.get(&key).map(Vec::as_slice);
        assert!(
            matches!(applied, Some([2] | [1, 2])),
            "race {race}: {applied:?}"
        );
    }
    let books = left.books().await.expect("read");
    assert_eq!(books[0].done + books[0].stale, 3 * RACES as u64);
    assert_eq!(left.imbalances(10).await.expect("read"), []);
    Store::close(&*left).await;
    Store::close(&*right).await;
}

pub async fn keys_in_opposite_orders_do_not_deadlock<H: StoreHarness>(world: &H) {
    let (left, right) = (world.open().await, world.open().await);
    let run = async |store: &H::Store, first: usize, reversed: bool| {
        for round in 0..10 {
            let mut batch: Vec<(Envelope, VersionedEvent)> = (0..16)
                .map(|number| {
                    let of = of_number(first + round * 16 + number);
                    let key = u8::try_from(number).expect("the number of a key must fit 8 bits");
                    let event = versioned(&of, key, "1");
                    (of, event)
                })
                .collect();
            if reversed {
                batch.reverse();
            }
            let (envelopes, events): (Vec<Envelope>, Vec<VersionedEvent>) =
                batch.into_iter().unzip();
            let all: Vec<&Envelope> = envelopes.iter().collect();
            let mut tx = store.begin().await.expect("begun");
            let claimed = store.claim(&mut tx, &one(), &all).await;
            claimed.expect("claimed");
            let standings = store.compare_versions(&mut tx, &one(), &events).await;
            let standings = standings.expect("the two transactions must not deadlock");
            assert_eq!(standings, [Current; 16]);
            let settled: Vec<ReceiptOutcome<'_>> = all
                .iter()
                .map(|envelope| ReceiptOutcome {
                    envelope,
                    outcome: Outcome::Done { attempt: 1 },
                    other_digest: None,
                })
                .collect();
            let written = store.settle(&mut tx, &one(), &settled).await;
            written.expect("settled");
            store.commit(tx).await.expect("committed");
        }
    };
    tokio::join!(run(&left, 0, false), run(&right, 1000, true));
    Store::close(&*left).await;
    Store::close(&*right).await;
}

/// A delivery of an event: its first receipt, its second receipt, or a retry.
struct Arriving {
    number: usize,
    envelope: Envelope,
    fails: bool,
}

/// Returns the key and the version of an event. The versions of a key do not rise with the numbers
/// of its events.
fn meant(number: usize) -> (u8, u32) {
    let key = u8::try_from(number % 3).expect("the number of a key must fit 8 bits");
    let version = u32::try_from(number * 37 % EVENTS).expect("a version must fit 32 bits");
    (key, version)
}

/// Checks that the newest version of each key is applied last when ten workers share shuffled,
/// late, duplicate, failing and replayed deliveries. Every second worker treats its handler as
/// untrusted.
pub async fn workers_at_once_leave_the_newest_of_each_key<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let deliveries = (0..2 * EVENTS).map(|place| {
        let number = place * 29 % EVENTS;
        let receipt = if place < EVENTS { 1 } else { 2 };
        Arriving {
            number,
            envelope: with_receipt(&format!("number-{number}"), receipt),
            fails: number.is_multiple_of(4),
        }
    });
    let queue: Mutex<VecDeque<Arriving>> = Mutex::new(deliveries.collect());
    let applied = Applied::default();
    let take = || {
        queue
            .lock()
            .expect("the lock must not be poisoned")
            .pop_front()
    };
    let shared = (&store, &queue, &applied, &take);
    let worker = |number: usize| async move {
        let (store, queue, applied, take) = shared;
        let is_trusted = number.is_multiple_of(2);
        while let Some(Arriving {
            number,
            envelope,
            fails,
        }) = take()
        {
            let (meant, handler) = (meant(number), OfHandler { is_trusted, fails });
            let claimed = work::<H>(store, &envelope, meant, handler, applied).await;
            if claimed == Claimed::Fresh && fails {
                // If the failure was recorded, its retry is delivered next. Otherwise the event was
                // stale, or another receipt of it has failed in the meantime, and this receipt is
                // delivered again.
                let redo = match fail(&**store, &envelope, 1, NOW).await {
                    Recorded::Recorded => Some(Redo { attempt: 2 }),
                    Recorded::Superseded => None,
                };
                let again = Arriving {
                    number,
                    envelope: Envelope { redo, ..envelope },
                    fails: false,
                };
                queue
                    .lock()
                    .expect("the lock must not be poisoned")
                    .push_back(again);
            }
        }
    };
    join_all((0..WORKERS).map(worker)).await;
    replay_all::<H>(&store, &applied).await;
    let applied = applied.into_inner().expect("the lock must not be poisoned");
    for (key, versions) in &applied {
        assert!(versions.is_sorted(), "key {key}: {versions:?}");
        let of_key = (0..EVENTS).map(meant).filter(|it| it.0 == *key);
        let newest = of_key.map(|it| it.1).max();
        assert_eq!(versions.last().copied(), newest, "key {key}");
        let effects = world.effects(&key.to_string()).await;
        assert_eq!(effects, versions.len() as u64, "key {key}");
    }
    assert_eq!(applied.len(), 3);
    let books = store.books().await.expect("read");
    let books = &books[0];
    let all = (books.done + books.stale, books.duplicate, books.retrying);
    assert_eq!(all, (EVENTS as u64, EVENTS as u64, 0), "{books:?}");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Replays every event that is done, and runs it again: all but the newest of each key are stale.
async fn replay_all<H: StoreHarness>(store: &H::Store, applied: &Applied) {
    let filter = again(Vec::new());
    let replayed = store
        .replay(&filter, None, 1000, "ann", "a new column")
        .await;
    assert!(replayed.expect("replayed").counts.again >= 3);
    let runs = (0..EVENTS).map(|number| async move {
        let of = of_number(number);
        let id = of.event.to_string();
        let seen = store
            .event(&id)
            .await
            .expect("read")
            .expect("the event must exist");
        let Some(retry) = seen.retries.first() else {
            return;
        };
        let of = Envelope {
            redo: Some(Redo {
                attempt: retry.attempt,
            }),
            ..of
        };
        let claimed = work::<H>(store, &of, meant(number), TRUSTED, applied).await;
        assert!(matches!(claimed, Claimed::Granted { .. }), "{claimed:?}");
    });
    join_all(runs).await;
}
