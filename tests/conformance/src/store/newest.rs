//! The promises of a store for routes that apply only the newest event of each key.

use hookbox_driver::VersionStanding::{self, Current, Stale};
use hookbox_driver::{
    ClaimState, Claimed, EndOutcome, EventFilter, Ledger, Outcome, ReceiptOutcome, ReplayFilter,
    Store, VersionedEvent,
};
use hookbox_event::{Envelope, EventId, KeyDigest, Redo, Version};

use super::end::{read_until, summary};
use super::{DEAD, NOW, claim, fail, finish, probe};
use crate::harness::{StoreHarness, one, two};
use crate::{envelope, of_number, with_receipt};

/// Returns an event with a key and a version.
pub(super) fn versioned(of: &Envelope, key: u8, version: &str) -> VersionedEvent {
    VersionedEvent {
        event: of.event,
        key: KeyDigest::from_bytes([key; 16]),
        version: Version::from_stored(version).expect("a valid version"),
    }
}

/// Claims an event in a new transaction, and compares its version.
async fn compared<S: Store>(
    store: &S,
    of: &Envelope,
    key: u8,
    version: &str,
) -> (S::Tx, VersionStanding) {
    let mut tx = store.begin().await.expect("begun");
    let claimed = claim(store, &mut tx, of).await;
    assert!(
        matches!(claimed, Claimed::Fresh | Claimed::Granted { .. }),
        "{claimed:?}"
    );
    let event = versioned(of, key, version);
    let standings = store.compare_versions(&mut tx, &one(), &[event]).await;
    let standings = standings.expect("compared");
    assert_eq!(standings.len(), 1);
    (tx, standings[0])
}

/// Processes one event as a worker does. Returns whether the event was current or stale.
async fn apply<S: Store>(store: &S, of: &Envelope, key: u8, version: &str) -> VersionStanding {
    let (tx, standing) = compared(store, of, key, version).await;
    let attempt = of.redo.map_or(1, |redo| redo.attempt);
    let outcome = match standing {
        Current => Outcome::Done { attempt },
        Stale => Outcome::Stale,
        VersionStanding::Busy => panic!("the key must not be busy, because no call is in flight"),
    };
    finish(store, tx, of, outcome).await;
    standing
}

/// Returns the filter that replays these events if they are done. If `events` is empty, the filter
/// replays all events that are done.
pub(super) fn again(events: Vec<EventId>) -> ReplayFilter {
    ReplayFilter {
        route: one(),
        topics: Vec::new(),
        conditions: Vec::new(),
        again: true,
        events,
        numbers: Vec::new(),
        source: None,
        topic: None,
        since: None,
        until: None,
    }
}

fn redo(event: &str, attempt: u32) -> Envelope {
    Envelope {
        redo: Some(Redo { attempt }),
        ..envelope(event)
    }
}

pub async fn an_event_that_is_older_than_a_done_one_is_stale<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    assert_eq!(apply(&*store, &envelope("five"), 1, "5").await, Current);
    assert_eq!(apply(&*store, &envelope("four"), 1, "4").await, Stale);
    assert_eq!(apply(&*store, &envelope("equal"), 1, "5").await, Current);
    let elsewhere = world.open().await;
    assert_eq!(apply(&*elsewhere, &envelope("six"), 1, "6").await, Current);
    assert_eq!(apply(&*store, &envelope("again five"), 1, "5").await, Stale);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks that a stale event is counted once in the accounting, and shown once in the lists and the
/// ends. A second receipt of the event is a duplicate.
pub async fn a_stale_event_is_counted_and_shown<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    apply(&*store, &envelope("new"), 1, "2").await;
    apply(&*store, &envelope("old"), 1, "1").await;
    let second = with_receipt("old", 2);
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &second).await, Claimed::Duplicate);
    finish(&*store, tx, &second, Outcome::Duplicate).await;
    let books = store.books().await.expect("read");
    let counts = (books[0].done, books[0].stale, books[0].duplicate);
    assert_eq!((counts, books[0].receipts()), ((1, 1, 1), 3));
    let id = envelope("old").event.to_string();
    let event = store
        .event(&id)
        .await
        .expect("read")
        .expect("the event must exist");
    let claim = &event.claims[0];
    assert_eq!((claim.state, claim.attempts), (ClaimState::Stale, 0));
    let outcomes: Vec<&str> = event
        .receipts
        .iter()
        .map(|it| it.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["stale", "duplicate"]);
    let filter = EventFilter {
        state: Some(ClaimState::Stale),
        ..EventFilter::default()
    };
    let listed = store.events(&filter, None, 10).await.expect("read");
    let listed: Vec<EventId> = listed.iter().map(|row| row.event).collect();
    assert_eq!(listed, [envelope("old").event]);
    let ends = read_until(&*store, None, 10, &envelope("old").event).await;
    let expect = [
        (envelope("new").event, EndOutcome::Done, 1, 1),
        (envelope("old").event, EndOutcome::Stale, 1, 0),
    ];
    assert_eq!(summary(&ends), expect);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn only_what_is_done_raises_a_version<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (tx, _) = compared(&*store, &envelope("invalid"), 1, "9").await;
    let outcome = Outcome::Dead {
        reason: hookbox_driver::DeadReason::SchemaBroken,
        detail: "why".to_owned(),
    };
    finish(&*store, tx, &envelope("invalid"), outcome).await;
    fail(&*store, &envelope("failed"), 1, DEAD).await;
    assert_eq!(apply(&*store, &envelope("a"), 1, "1").await, Current);
    assert_eq!(apply(&*store, &envelope("b"), 1, "3").await, Current);
    assert_eq!(apply(&*store, &envelope("c"), 1, "2").await, Stale);
    // A stale event does not lower the version of its key.
    assert_eq!(apply(&*store, &envelope("d"), 1, "2.5").await, Stale);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn a_version_that_was_rolled_back_makes_nothing_stale<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    apply(&*store, &envelope("first"), 1, "1").await;
    for (number, key) in [(0, 1), (1, 2)] {
        let of = of_number(number);
        let (mut tx, standing) = compared(&*store, &of, key, "9").await;
        assert_eq!(standing, Current);
        let settled = [ReceiptOutcome {
            envelope: &of,
            outcome: Outcome::Done { attempt: 1 },
            other_digest: None,
        }];
        let written = store.settle(&mut tx, &one(), &settled).await;
        written.expect("settled");
        store.rollback(tx).await;
        let later = of_number(number + 10);
        assert_eq!(apply(&*store, &later, key, "2").await, Current);
    }
    Store::close(&*store).await;
}

pub async fn versions_are_compared_by_their_exact_values<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut number = 0;
    for (key, done, later, expect) in [
        (1, "9007199254740993", "9007199254740992", Stale),
        (2, "1e3", "1000.0", Current),
        (3, "10", "9", Stale),
        (4, "-2", "-3.00000000000000000001", Stale),
        (
            5,
            "2026-11-26T17:30:00.1234567892Z",
            "2026-11-26T17:30:00.1234567891Z",
            Stale,
        ),
        (
            6,
            "2026-11-26T17:30:00Z",
            "2026-11-26T17:30:00.000Z",
            Current,
        ),
    ] {
        let (first, second) = (of_number(number), of_number(number + 1));
        number += 2;
        assert_eq!(apply(&*store, &first, key, done).await, Current, "{done}");
        let standing = apply(&*store, &second, key, later).await;
        assert_eq!(standing, expect, "{later} after {done}");
    }
    Store::close(&*store).await;
}

pub async fn versions_are_per_key_and_route<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    apply(&*store, &envelope("a"), 1, "5").await;
    assert_eq!(apply(&*store, &envelope("b"), 2, "1").await, Current);
    let mut tx = store.begin().await.expect("begun");
    let of = envelope("c");
    let claimed = store.claim(&mut tx, &two(), &[&of]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Fresh]);
    let events = [versioned(&of, 1, "1")];
    let standings = store.compare_versions(&mut tx, &two(), &events).await;
    assert_eq!(standings.expect("compared"), [Current]);
    store.rollback(tx).await;
    Store::close(&*store).await;
}

/// Checks that an older event ends as stale when it is retried or replayed, and that its waiting
/// receipts get the same outcome.
pub async fn a_granted_attempt_can_be_stale<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("failed"), 1, NOW).await;
    apply(&*store, &envelope("old"), 1, "1").await;
    apply(&*store, &envelope("new"), 1, "2").await;
    assert_eq!(apply(&*store, &redo("failed", 2), 1, "1").await, Stale);
    let filter = again(vec![envelope("old").event]);
    let replayed = store
        .replay(&filter, None, 100, "ann", "a new column")
        .await;
    assert_eq!(replayed.expect("replayed").counts.again, 1);
    assert_eq!(apply(&*store, &redo("old", 2), 1, "1").await, Stale);
    let books = store.books().await.expect("read");
    let counts = (books[0].done, books[0].stale, books[0].retrying);
    assert_eq!(counts, (1, 2, 0));
    for (event, attempts) in [("failed", 1), ("old", 1)] {
        let id = envelope(event).event.to_string();
        let seen = store
            .event(&id)
            .await
            .expect("read")
            .expect("the event must exist");
        let claim = &seen.claims[0];
        assert_eq!(
            (claim.state, claim.attempts),
            (ClaimState::Stale, attempts),
            "{event}"
        );
        assert_eq!(seen.retries.len(), 0, "{event}");
    }
    // A stale event would be stale again, so it is not replayed.
    let replayed = store.replay(&filter, None, 100, "ann", "once more").await;
    let counts = replayed.expect("replayed").counts;
    assert_eq!((counts.again, counts.stale), (0, 1));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn a_withdrawn_event_raises_no_version<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (kept, withdrawn) = (envelope("kept"), envelope("withdrawn"));
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, &one(), &[&kept, &withdrawn]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Fresh, Claimed::Fresh]);
    let events = [versioned(&kept, 1, "1"), versioned(&withdrawn, 1, "2")];
    let standings = store.compare_versions(&mut tx, &one(), &events).await;
    assert_eq!(standings.expect("compared"), [Current, Current]);
    let gone = [withdrawn.event];
    store
        .withdraw(&mut tx, &one(), &gone)
        .await
        .expect("withdrawn");
    finish(&*store, tx, &kept, Outcome::Done { attempt: 1 }).await;
    assert_eq!(apply(&*store, &envelope("later"), 1, "1.5").await, Current);
    assert_eq!(apply(&*store, &withdrawn, 1, "2").await, Current);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that nothing is stored about a key when its only event is withdrawn from the transaction.
pub async fn a_withdrawn_event_leaves_its_key_as_it_was<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (kept, withdrawn) = (envelope("kept"), envelope("withdrawn"));
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, &one(), &[&kept, &withdrawn]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Fresh, Claimed::Fresh]);
    let events = [versioned(&kept, 1, "1"), versioned(&withdrawn, 2, "2")];
    let standings = store.compare_versions(&mut tx, &one(), &events).await;
    assert_eq!(standings.expect("compared"), [Current, Current]);
    let gone = [withdrawn.event];
    let left = store.withdraw(&mut tx, &one(), &gone).await;
    left.expect("withdrawn");
    finish(&*store, tx, &kept, Outcome::Done { attempt: 1 }).await;
    let older = apply(&*store, &envelope("older"), 2, "1").await;
    assert_eq!(older, Current);
    assert_eq!(apply(&*store, &envelope("old"), 1, "0").await, Stale);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks an event whose handler has committed the transaction by itself. This event makes no other
/// event stale.
pub async fn an_orphan_raises_no_version<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let of = envelope("orphan");
    let mut tx = store.begin_for_handler().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &of).await, Claimed::Fresh);
    let events = [versioned(&of, 1, "2")];
    let standings = store.compare_versions(&mut tx, &one(), &events).await;
    assert_eq!(standings.expect("compared"), [Current]);
    H::commit_raw(store.connection(&mut tx)).await;
    drop(tx);
    assert_eq!(probe(&*store, &of).await, Claimed::Orphaned);
    assert_eq!(apply(&*store, &envelope("older"), 1, "1").await, Current);
    Store::close(&*store).await;
}
