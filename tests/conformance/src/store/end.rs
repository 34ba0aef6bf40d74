//! The promises of a store for programs that read the ends of all events, page by page.
//!
//! Other tests use the same server at the same time. On PostgreSQL, an end can be read only when no
//! older transaction is open. So each case waits until it reads its last end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{
    BrokerBehind, CommitError, CursorRefusal, DeadFilter, DeadReason, EndCursor, EndOutcome,
    EndRow, EndsPage, EndsRead, Ledger, Mismatch, Outcome, ReceiptOutcome, Store, Then,
    UndecodableMessage,
};
use hookbox_event::{Digester, Envelope, EventId, Redo, RouteName};
use hookbox_testkit::eventually::within;

use super::race::work;
use super::{DEAD, LATER, NOW, claim, done, fail, failure, finish};
use crate::harness::{StoreHarness, one, two};
use crate::{envelope, of_number, with_receipt};

/// The longest wait for an end. Another test may have a transaction open for a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// How many workers work at the same time.
const WORKERS: usize = 4;
/// How many events each worker processes.
const EVENTS: usize = 25;

async fn page(
    store: &impl Ledger,
    after: Option<&EndCursor>,
    route: Option<&RouteName>,
    limit: u32,
) -> EndsPage {
    match store.ends(after, route, limit).await.expect("read") {
        EndsRead::Page(page) => page,
        EndsRead::Refused(refusal) => panic!("the cursor must be accepted: {refusal}"),
    }
}

/// Reads from the first end, page by page, until the end of this event is read.
pub(super) async fn read_until(
    store: &impl Ledger,
    route: Option<&RouteName>,
    limit: u32,
    last: &EventId,
) -> Vec<EndRow> {
    let mut read: Vec<EndRow> = Vec::new();
    let mut after = None;
    within(PATIENCE, "every end must be read", async || {
        let page = page(store, after.as_ref(), route, limit).await;
        assert!(page.rows.len() <= limit as usize, "{page:?}");
        after = page.next.or(after.take());
        read.extend(page.rows);
        if read.iter().any(|row| row.event == *last) {
            Ok(())
        } else {
            Err(format!("{} ends were read", read.len()))
        }
    })
    .await;
    read
}

/// Makes one more event done and, when its end can be read, returns all earlier ends.
async fn read_all<S: Store + Ledger>(store: &S) -> Vec<EndRow> {
    let last = envelope("the last one");
    done(store, &last).await;
    let mut read = read_until(store, None, 100, &last.event).await;
    read.pop().expect("the read ends must include the last one");
    read
}

/// Returns the event and the outcome of each end, with its round and its attempts.
pub(super) fn summary(read: &[EndRow]) -> Vec<(EventId, EndOutcome, u32, u32)> {
    let of = |row: &EndRow| (row.event, row.outcome, row.round, row.attempts);
    read.iter().map(of).collect()
}

fn position(row: &EndRow) -> (u64, i64, String) {
    let cursor = &row.cursor;
    let route = cursor.route.as_str().to_owned();
    (cursor.position, cursor.event.as_i64(), route)
}

/// Settles one claimed event as done.
async fn settle<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    route: &RouteName,
    envelope: &Envelope,
) -> Result<(), CommitError> {
    let settled = [ReceiptOutcome {
        envelope,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    }];
    store.settle(tx, route, &settled).await
}

async fn done_on<S: Store>(store: &S, route: &RouteName, envelope: &Envelope) {
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, route, &[envelope]).await;
    claimed.expect("claimed");
    let settled = settle(store, &mut tx, route, envelope).await;
    settled.expect("settled");
    store.commit(tx).await.expect("committed");
}

fn redo(event: &str, attempt: u32) -> Envelope {
    Envelope {
        redo: Some(Redo { attempt }),
        ..envelope(event)
    }
}

/// Checks that the ends of consecutive transactions are read in the order of the commits. Pages may
/// have any length, and each page starts after the last end of the page before it.
pub async fn ends_are_read_in_the_order_of_commits<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let names = ["d", "a", "e", "b", "c"];
    for name in names {
        done(&*store, &envelope(name)).await;
    }
    let last = envelope("c").event;
    let expect: Vec<EventId> = names.iter().map(|name| envelope(name).event).collect();
    for limit in [1, 2, 5, 100] {
        let read = read_until(&*store, None, limit, &last).await;
        let events: Vec<EventId> = read.iter().map(|row| row.event).collect();
        assert_eq!(events, expect, "{limit}");
        assert!(read.is_sorted_by_key(position), "{read:?}");
    }
    let read = read_until(&*store, None, 100, &last).await;
    for row in &read {
        let text = row.cursor.to_string();
        assert_eq!(text.parse().as_ref(), Ok(&row.cursor));
        assert_eq!(
            (row.outcome, row.round, row.attempts),
            (EndOutcome::Done, 1, 1)
        );
        assert_eq!(row.topic.as_str(), "provider.thing.happened");
        assert_eq!(row.cursor.route, one());
    }
    let after = &read[4].cursor;
    let page = page(&*store, Some(after), None, 10).await;
    assert_eq!((page.rows, page.next, page.more), (Vec::new(), None, false));
    Store::close(&*store).await;
}

/// Checks that these have no end: an event that waits for a retry, an event whose transaction was
/// rolled back, an event that was withdrawn, and further receipts of an event that has an end.
pub async fn only_what_ended_has_an_end<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("waits"), 1, LATER).await;
    let mut tx = store.begin().await.expect("begun");
    claim(&*store, &mut tx, &envelope("rolled back")).await;
    let settled = settle(&*store, &mut tx, &one(), &envelope("rolled back")).await;
    settled.expect("settled");
    store.rollback(tx).await;
    let mut tx = store.begin().await.expect("begun");
    claim(&*store, &mut tx, &envelope("withdrawn")).await;
    claim(&*store, &mut tx, &envelope("done")).await;
    let events = [envelope("withdrawn").event];
    let withdrawn = store.withdraw(&mut tx, &one(), &events).await;
    withdrawn.expect("withdrawn");
    let outcome = Outcome::Done { attempt: 1 };
    finish(&*store, tx, &envelope("done"), outcome).await;
    let mut tx = store.begin().await.expect("begun");
    let again = with_receipt("done", 2);
    claim(&*store, &mut tx, &again).await;
    finish(&*store, tx, &again, Outcome::Duplicate).await;
    let expect = [(again.event, EndOutcome::Done, 1, 1)];
    assert_eq!(summary(&read_all(&*store).await), expect);
    Store::close(&*store).await;
}

/// Checks that an event gets a further end when its dead letter is discarded, when the discard is
/// reverted, and when the event ends again after a replay. A round has the number of its first
/// attempt, so it is 1 as long as no earlier round has counted an attempt.
pub async fn a_dead_letter_ends_again<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let invalid = envelope("invalid");
    let mut tx = store.begin().await.expect("begun");
    claim(&*store, &mut tx, &invalid).await;
    let outcome = Outcome::Dead {
        reason: DeadReason::SchemaBroken,
        detail: "no".to_owned(),
    };
    finish(&*store, tx, &invalid, outcome).await;
    fail(&*store, &envelope("a"), 1, NOW).await;
    fail(&*store, &redo("a", 2), 2, DEAD).await;
    let of_a = DeadFilter {
        reason: Some(DeadReason::Exhausted),
        ..DeadFilter::default()
    };
    change_thrice(&*store, &of_a).await;
    let route = one();
    let again = redo("a", 3);
    let mut third = failure(&route, &again, 3, DEAD);
    third.attempts_before = 2;
    store.fail(&third).await.expect("recorded");
    change_thrice(&*store, &of_a).await;
    done(&*store, &redo("a", 4)).await;
    let replayed = store.dead_replay(&DeadFilter::default(), 10, "ann").await;
    assert_eq!(replayed.expect("replayed"), 1);
    done(&*store, &redo("invalid", 1)).await;
    let read = read_all(&*store).await;
    let (a, invalid) = (envelope("a").event, invalid.event);
    let expect = [
        (invalid, EndOutcome::Dead, 1, 0),
        (a, EndOutcome::Dead, 1, 2),
        (a, EndOutcome::Discarded, 1, 2),
        (a, EndOutcome::Dead, 1, 2),
        (a, EndOutcome::Dead, 3, 3),
        (a, EndOutcome::Discarded, 3, 3),
        (a, EndOutcome::Dead, 3, 3),
        (a, EndOutcome::Done, 4, 4),
        (invalid, EndOutcome::Done, 1, 1),
    ];
    assert_eq!(summary(&read), expect);
    Store::close(&*store).await;
}

/// Discards a dead letter, reverts the discard, and replays the dead letter.
async fn change_thrice(store: &impl Ledger, filter: &DeadFilter) {
    let discarded = store.dead_discard(filter, 10, "ann").await;
    let restored = store.dead_restore(filter, 10, "ann").await;
    let replayed = store.dead_replay(filter, 10, "ann").await;
    for changed in [discarded, restored, replayed] {
        assert_eq!(changed.expect("changed"), 1);
    }
}

/// Checks that undecodable bytes, which have no receipt, get one end with the outcome `dead`.
pub async fn undecodable_bytes_have_an_end<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let bytes = Bytes::from_static(b"not an envelope");
    let (route, reason) = (one(), DeadReason::Undecodable);
    let undecodable = UndecodableMessage::new(&Digester::Plain, &route, &bytes, reason, "no");
    for _ in 0..2 {
        store.store_undecodable(&undecodable).await.expect("stored");
    }
    let read = read_all(&*store).await;
    let event = EventId::of_undecodable(&Digester::Plain, &bytes);
    assert_eq!(summary(&read), [(event, EndOutcome::Dead, 1, 0)]);
    Store::close(&*store).await;
}

/// Checks an event whose handler has committed the transaction. Its claim is stored as done, but
/// the event has no end until it is recorded as orphaned.
pub async fn an_orphan_ends_as_dead_only<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let orphan = envelope("orphan");
    let mut tx = store.begin().await.expect("begun");
    claim(&*store, &mut tx, &orphan).await;
    H::effect(store.connection(&mut tx), "orphan").await;
    H::commit_raw(store.connection(&mut tx)).await;
    let ended = match settle(&*store, &mut tx, &one(), &orphan).await {
        Ok(()) => store.commit(tx).await,
        Err(error) => {
            store.rollback(tx).await;
            Err(error)
        }
    };
    assert!(
        matches!(ended, Err(CommitError::EndedByHandler { .. })),
        "{ended:?}"
    );
    assert_eq!(summary(&read_all(&*store).await), []);
    let orphaned = Then::Dead {
        reason: DeadReason::Orphaned,
    };
    fail(&*store, &orphan, 1, orphaned).await;
    let last = envelope("a later one");
    done(&*store, &last).await;
    let read = read_until(&*store, None, 100, &last.event).await;
    let of_orphan: Vec<EndOutcome> = read
        .iter()
        .filter(|row| row.event == orphan.event)
        .map(|row| row.outcome)
        .collect();
    assert_eq!(of_orphan, [EndOutcome::Dead]);
    Store::close(&*store).await;
}

/// Checks that a reader gets every end once, in the order of the positions, while several workers
/// commit in random order.
pub async fn workers_at_once_are_read_along_completely<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let worked = work_at_once::<H>(&store);
    let reader = async {
        let last = envelope("the last one").event;
        read_until(&*elsewhere, None, 3, &last).await
    };
    let finished = async {
        worked.await;
        done(&*store, &envelope("the last one")).await;
    };
    let ((), mut read) = tokio::join!(finished, reader);
    read.pop().expect("the read ends must include the last one");
    assert!(
        read.is_sorted_by(|a, b| position(a) < position(b)),
        "{read:?}"
    );
    let events: BTreeSet<EventId> = read.iter().map(|row| row.event).collect();
    let wanted: BTreeSet<EventId> = (0..WORKERS * EVENTS)
        .map(|number| of_number(number).event)
        .collect();
    assert_eq!(events, wanted);
    assert_eq!(read.len(), WORKERS * EVENTS);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Processes all events, with several workers at once.
async fn work_at_once<H: StoreHarness>(store: &Arc<H::Store>) {
    let worker = |worker: usize| async move {
        for number in (worker..WORKERS * EVENTS).step_by(WORKERS) {
            let (event, key) = (of_number(number), number.to_string());
            let worked = work::<H>(store, &event, &key).await;
            worked.expect("worked");
        }
    };
    tokio::join!(worker(0), worker(1), worker(2), worker(3));
}

/// Checks that a reader of one route gets only the ends of this route. Its cursor can then be used
/// to read on another route or on all routes.
pub async fn ends_of_one_route_are_read_past_others<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done_on(&*store, &two(), &envelope("first")).await;
    for number in 0..30 {
        done(&*store, &of_number(number)).await;
    }
    done_on(&*store, &two(), &of_number(7)).await;
    let last = of_number(7).event;
    let read = read_until(&*store, Some(&two()), 1, &last).await;
    let events: Vec<EventId> = read.iter().map(|row| row.event).collect();
    assert_eq!(events, [envelope("first").event, last]);
    assert!(read.iter().all(|row| row.cursor.route == two()));
    let first = &read[0].cursor;
    let rest = page(&*store, Some(first), Some(&one()), 100).await;
    assert_eq!(rest.rows.len(), 30);
    let all = page(&*store, Some(first), None, 100).await;
    assert_eq!(all.rows.len(), 31);
    assert_eq!(rest.next, all.next, "both pages must end at the same place");
    Store::close(&*store).await;
}

/// Checks that a cursor is refused if the store does not have the end that it names, as after a
/// restore from a backup. It is also refused if it belongs to an earlier incarnation of the store.
pub async fn a_cursor_of_another_store_is_refused<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    done(&*store, &envelope("b")).await;
    let read = read_until(&*store, None, 10, &envelope("b").event).await;
    let cursor = &read[0].cursor;
    let refused =
        async |cursor: &EndCursor| match store.ends(Some(cursor), None, 10).await.expect("read") {
            EndsRead::Refused(refusal) => refusal,
            EndsRead::Page(page) => panic!("the cursor must be refused: {page:?}"),
        };
    let later = EndCursor {
        position: read[1].cursor.position + 1,
        ..cursor.clone()
    };
    let other_time = EndCursor {
        at: cursor.at.saturating_add(Duration::from_secs(1)),
        ..cursor.clone()
    };
    let other_route = EndCursor {
        route: two(),
        ..cursor.clone()
    };
    for cursor in [later, other_time, other_route] {
        assert_eq!(refused(&cursor).await, CursorRefusal::Gone, "{cursor}");
    }
    let at = cursor.at;
    let mismatch = Mismatch::BrokerBehind(BrokerBehind {
        confirmed: 1,
        found: None,
        from: at,
        until: at,
        routes: Vec::new(),
    });
    let accepted = store.accept_restore(&mismatch, "ann", "restored").await;
    let store_now = accepted.expect("accepted").store;
    let expect = CursorRefusal::OtherIncarnation {
        cursor: cursor.incarnation,
        store: store_now,
    };
    assert_eq!(refused(cursor).await, expect);
    let anew = page(&*store, None, None, 10).await;
    assert_eq!(anew.rows.len(), 2);
    assert_eq!(anew.rows[0].cursor.incarnation, store_now);
    Store::close(&*store).await;
}
