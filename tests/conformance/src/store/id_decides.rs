//! The promises of a store for a source whose config says that the event id alone decides. In such
//! a source, a receipt with a known id and another body is a duplicate. The event keeps its first
//! body on every route.

use std::time::Duration;

use hookbox_driver::{
    Claimed, DeadFilter, DeferReason, Deferral, Deferred, Failure, Ledger, Outcome, ReceiptOutcome,
    ReceiptRow, Recorded, Store,
};
use hookbox_event::{ContentDigest, Envelope, Redo, RouteName};

use super::{DEAD, NOW, done, failure, probe};
use crate::harness::{StoreHarness, one, two};
use crate::{another_body, envelope, with_receipt};

/// Returns the received envelope with another body: the one that is stored under its event id. A
/// worker claims the event with the envelope that this returns.
async fn with_the_stored_body<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    received: &Envelope,
) -> Envelope {
    let stored = store.stored(tx, &[received.event]).await.expect("read");
    let [Some(stored)] = &stored[..] else {
        panic!("a body of the event must be stored")
    };
    Envelope {
        topic: stored.topic.clone(),
        digest: stored.digest,
        seal: stored.seal.clone(),
        body: stored.body.clone(),
        ..received.clone()
    }
}

/// Settles a receipt whose body differs from the stored body of its event. The first claim has the
/// receipt's own body, and returns a conflict. The second claim has the stored body, and is settled
/// with this outcome. Returns the result of the second claim.
async fn settle_by_id<S: Store>(
    store: &S,
    route: &RouteName,
    received: &Envelope,
    outcome: Outcome,
) -> Claimed {
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, route, &[received]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Conflict]);
    let known = with_the_stored_body(store, &mut tx, received).await;
    let claimed = store.claim(&mut tx, route, &[&known]).await;
    let claimed = claimed.expect("claimed")[0];
    let settled = [ReceiptOutcome {
        envelope: &known,
        outcome,
        other_digest: Some(received.digest),
    }];
    let written = store.settle(&mut tx, route, &settled).await;
    written.expect("settled");
    store.commit(tx).await.expect("committed");
    claimed
}

pub async fn another_body_is_a_duplicate_where_the_id_decides<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let second = another_body("a", 2);
    let claimed = settle_by_id(&*store, &one(), &second, Outcome::Duplicate).await;
    assert_eq!(claimed, Claimed::Duplicate);
    assert_eq!(probe(&*store, &second).await, Claimed::Redelivered);
    // A route that has not claimed the event yet runs its handler with the first body.
    let third = another_body("a", 3);
    let attempt = Outcome::Done { attempt: 1 };
    let claimed = settle_by_id(&*store, &two(), &third, attempt).await;
    assert_eq!(claimed, Claimed::Fresh);
    let mut tx = store.begin().await.expect("begun");
    let first = with_receipt("a", 4);
    let claimed = store.claim(&mut tx, &two(), &[&first]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Duplicate]);
    store.rollback(tx).await;
    // The event lists the receipts whose body differs from the stored one, each with the digest of
    // its own body.
    let id = first.event.to_string();
    let event = store
        .event(&id)
        .await
        .expect("read")
        .expect("the event must exist");
    assert_eq!((event.body, event.digest), (first.body, first.digest));
    let mut receipts: Vec<_> = event
        .receipts
        .iter()
        .map(|row| (row.route.clone(), row.outcome.as_str(), row.other_digest))
        .collect();
    receipts.sort();
    let mut wanted = vec![
        (one(), "done", None),
        (one(), "duplicate", Some(second.digest)),
        (two(), "done", Some(third.digest)),
    ];
    wanted.sort();
    assert_eq!(receipts, wanted);
    let books = store.books().await.expect("read");
    let sums: Vec<_> = books
        .iter()
        .map(|books| (books.done, books.duplicate, books.receipts()))
        .collect();
    let mut sums = sums;
    sums.sort();
    assert_eq!(sums, [(1, 0, 1), (1, 1, 2)]);
    let all = DeadFilter::default();
    assert_eq!(store.dead_count(&all).await.expect("read"), 0);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Claims an event with another body on route `two`, which has not claimed the event yet. Then it
/// rolls back, as a worker does before it records a failure. Returns the envelope with the stored
/// body.
async fn run_in_vain<S: Store>(store: &S, received: &Envelope) -> Envelope {
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, &two(), &[received]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Conflict]);
    let known = with_the_stored_body(store, &mut tx, received).await;
    let claimed = store.claim(&mut tx, &two(), &[&known]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Fresh]);
    store.rollback(tx).await;
    known
}

/// Claims the retry for this attempt on route `two`, and commits it as done.
async fn succeed<S: Store>(store: &S, known: &Envelope, attempt: u32) {
    let redo = Envelope {
        redo: Some(Redo { attempt }),
        ..known.clone()
    };
    let mut tx = store.begin().await.expect("begun");
    let claimed = store.claim(&mut tx, &two(), &[&redo]).await;
    let claimed = claimed.expect("claimed");
    assert!(
        matches!(claimed[..], [Claimed::Granted { attempt: granted, .. }] if granted == attempt),
        "{claimed:?}"
    );
    let settled = [ReceiptOutcome {
        envelope: &redo,
        outcome: Outcome::Done { attempt },
        // A retry carries only the stored body. So the digest of the receipt's own body is unknown
        // here.
        other_digest: None,
    }];
    let written = store.settle(&mut tx, &two(), &settled).await;
    written.expect("settled");
    store.commit(tx).await.expect("committed");
}

/// Returns the outcomes of the receipts on route `two`, and the digests of their own bodies.
fn of_two(receipts: &[ReceiptRow]) -> Vec<(&str, Option<ContentDigest>)> {
    let on_two = receipts.iter().filter(|row| row.route == two());
    on_two
        .map(|row| (row.outcome.as_str(), row.other_digest))
        .collect()
}

async fn receipts_of<S: Ledger>(store: &S, event: &Envelope) -> Vec<ReceiptRow> {
    let id = event.event.to_string();
    let event = store.event(&id).await.expect("read");
    event.expect("the event must exist").receipts
}

/// Checks a receipt whose body differs from the stored one. It keeps the digest of its own body
/// when the first run of the handler fails. The digest must stay while the event waits for a retry
/// or is a dead letter, and after a later attempt succeeds.
pub async fn another_body_is_kept_with_a_failure<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let route = two();
    let mut failed = Vec::new();
    for (key, then, outcome) in [("retried", NOW, "retrying"), ("given up", DEAD, "dead")] {
        done(&*store, &envelope(key)).await;
        let second = another_body(key, 2);
        let known = run_in_vain(&*store, &second).await;
        let failure = Failure {
            other_digest: Some(second.digest),
            ..failure(&route, &known, 1, then)
        };
        let recorded = store.fail(&failure).await.expect("recorded");
        assert_eq!(recorded, Recorded::Recorded);
        let receipts = receipts_of(&*store, &second).await;
        assert_eq!(of_two(&receipts), [(outcome, Some(second.digest))]);
        failed.push((second, known));
    }
    let all = DeadFilter::default();
    let dead = store.dead_list(&all, 0, 10).await.expect("read");
    assert_eq!(dead.len(), 1);
    let dead_letter = store.dead_show(dead[0].id).await.expect("read");
    let receipts = dead_letter
        .expect("the dead letter must exist")
        .history
        .receipts;
    let (given_up, _) = &failed[1];
    assert_eq!(of_two(&receipts), [("dead", Some(given_up.digest))]);
    let replayed = store.dead_replay(&all, 10, "tester").await;
    assert_eq!(replayed.expect("replayed"), 1);
    for (second, known) in &failed {
        succeed(&*store, known, 2).await;
        let receipts = receipts_of(&*store, second).await;
        assert_eq!(of_two(&receipts), [("done", Some(second.digest))]);
    }
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks that a receipt with another body keeps the digest of that body when its first run is
/// deferred twice.
pub async fn another_body_is_kept_with_a_deferral<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let second = another_body("a", 2);
    let known = run_in_vain(&*store, &second).await;
    let again = Envelope {
        redo: Some(Redo { attempt: 1 }),
        ..known.clone()
    };
    for (envelope, other_digest) in [(&known, Some(second.digest)), (&again, None)] {
        let deferral = Deferral {
            route: &two(),
            envelope,
            attempt: 1,
            attempts_before: 0,
            other_digest,
            reason: DeferReason::ForeignLock,
            least: Duration::ZERO,
            most: Duration::ZERO,
            age_max: None,
        };
        let deferred = store.defer(&deferral).await.expect("answered");
        assert_eq!(deferred, Deferred::Recorded);
        let receipts = receipts_of(&*store, &second).await;
        assert_eq!(of_two(&receipts), [("retrying", Some(second.digest))]);
    }
    succeed(&*store, &known, 1).await;
    let receipts = receipts_of(&*store, &second).await;
    assert_eq!(of_two(&receipts), [("done", Some(second.digest))]);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

pub async fn a_stored_event_is_its_first_body<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let mut tx = store.begin().await.expect("begun");
    // A transaction that has claimed an event sees the body of this event as stored, even before it
    // commits.
    let own = envelope("b");
    let claimed = store.claim(&mut tx, &one(), &[&own]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Fresh]);
    let (known, unknown) = (another_body("a", 2), envelope("unknown"));
    let ids = [own.event, unknown.event, known.event];
    let stored = store.stored(&mut tx, &ids).await.expect("read");
    let bodies: Vec<_> = stored
        .iter()
        .map(|stored| stored.as_ref().map(|it| (it.body.clone(), it.digest)))
        .collect();
    let of = |envelope: &Envelope| Some((envelope.body.clone(), envelope.digest));
    assert_eq!(bodies, [of(&own), None, of(&envelope("a"))]);
    let topics = stored.iter().flatten().map(|it| &it.topic);
    assert!(topics.eq([&own.topic, &own.topic]));
    assert!(stored.iter().flatten().all(|it| it.seal.is_none()));
    assert_eq!(store.stored(&mut tx, &[]).await.expect("read").len(), 0);
    store.rollback(tx).await;
    Store::close(&*store).await;
}
