//! Another body under a known event id, where the id decides: the body that came first is the
//! event's, on every route.

use hookbox_driver::{Claimed, DeadFilter, Ledger, Outcome, Settled, Store};
use hookbox_event::{Envelope, RouteName};

use super::{done, look};
use crate::harness::{StoreHarness, one, two};
use crate::{another_body, envelope, with_receipt};

/// The envelope with the body that is stored under its event id, as the worker claims it then.
async fn with_the_stored_body<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    received: &Envelope,
) -> Envelope {
    let stored = store.stored(tx, &[received.event]).await.expect("read");
    let [Some(stored)] = &stored[..] else {
        panic!("it is stored")
    };
    Envelope {
        topic: stored.topic.clone(),
        digest: stored.digest,
        seal: stored.seal.clone(),
        body: stored.body.clone(),
        ..received.clone()
    }
}

/// Claims a conflict by its id, and settles it with this outcome.
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
    let settled = [Settled {
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
    assert_eq!(look(&*store, &second).await, Claimed::Redelivered);
    // A route that has not claimed the event yet runs it, with the body that came first.
    let third = another_body("a", 3);
    let attempt = Outcome::Done { attempt: 1 };
    let claimed = settle_by_id(&*store, &two(), &third, attempt).await;
    assert_eq!(claimed, Claimed::Fresh);
    let mut tx = store.begin().await.expect("begun");
    let first = with_receipt("a", 4);
    let claimed = store.claim(&mut tx, &two(), &[&first]).await;
    assert_eq!(claimed.expect("claimed"), [Claimed::Duplicate]);
    store.rollback(tx).await;
    // What each of them says is seen where the event is shown.
    let id = first.event.to_string();
    let event = store.event(&id).await.expect("read").expect("it is there");
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

pub async fn a_stored_event_is_its_first_body<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &envelope("a")).await;
    let mut tx = store.begin().await.expect("begun");
    // What this very transaction has claimed is stored for it.
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
