//! The promises of a store for start markers. Start markers count how often the handler of a
//! redelivered event was started, so that a process which dies leaves a trace. All processes see
//! the counts, and a process that survives clears them.

use hookbox_driver::{Claimed, CountedStart, Start, StartCounts, StartKind, Store};
use hookbox_event::{InstanceId, RouteName};

use super::{claim, done};
use crate::envelope;
use crate::harness::{StoreHarness, one, two};

/// Returns the id of the process with this number.
fn by(number: u8) -> InstanceId {
    InstanceId::from_bytes([number; 16])
}

/// Counts a handler start of the kind `Shared`, which means that other handlers may run in the
/// process at the same time.
async fn start<S: Store>(store: &S, route: &RouteName, process: u8, on: &[Start]) {
    store
        .start(route, &by(process), StartKind::Shared, on)
        .await
        .expect("counted");
}

/// Returns for each event how often its handler was started.
async fn counts<S: Store>(store: &S, route: &RouteName, of: &[Start]) -> Vec<u32> {
    let counts = store.starts(route, of).await.expect("read");
    counts.iter().map(|counts| counts.all).collect()
}

/// Checks that the store counts all starts of a handler, and besides counts those of the kinds
/// `Isolated` and `Unproven`. In both kinds no other handler runs in the process. `Unproven` also
/// means that the process has not completed any event yet.
pub async fn starts_are_counted_by_kind<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let a = [Start::of(&envelope("a"))];
    start(&*store, &one(), 1, &a).await;
    for (process, kind) in [
        (2, StartKind::Unproven),
        (3, StartKind::Isolated),
        (4, StartKind::Isolated),
        // The call is repeated, as by a process that did not receive the reply to it.
        (4, StartKind::Isolated),
    ] {
        store
            .start(&one(), &by(process), kind, &a)
            .await
            .expect("counted");
    }
    let expect = StartCounts {
        all: 4,
        isolated: 2,
        unproven: 1,
    };
    assert_eq!(store.starts(&one(), &a).await.expect("read"), [expect]);
    store.survived(&one(), &a).await.expect("forgotten");
    let nothing = [StartCounts::default()];
    assert_eq!(store.starts(&one(), &a).await.expect("read"), nothing);
    Store::close(&*store).await;
}

pub async fn starts_are_counted_until_a_process_survives<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let [a, b, c] = ["a", "b", "c"].map(|name| Start::of(&envelope(name)));
    let found = counts(&*store, &one(), &[b, a, c]).await;
    assert_eq!(found, [0, 0, 0]);
    start(&*store, &one(), 1, &[a]).await;
    start(&*elsewhere, &one(), 2, &[b, a]).await;
    // The call is repeated, as by a process that did not receive the reply to it.
    start(&*elsewhere, &one(), 2, &[b, a]).await;
    start(&*store, &one(), 1, &[a, c]).await;
    // Every process gets the same counts, in the order of the events in its query.
    for store in [&store, &elsewhere] {
        let found = counts(&**store, &one(), &[b, a, c]).await;
        assert_eq!(found, [1, 3, 1]);
    }
    elsewhere
        .survived(&one(), &[c, a])
        .await
        .expect("forgotten");
    let found = counts(&*store, &one(), &[a, b, c]).await;
    assert_eq!(
        found,
        [0, 1, 0],
        "the count of event b, which was not cleared, must not change"
    );
    store.survived(&one(), &[a, b]).await.expect("forgotten");
    start(&*store, &one(), 1, &[a]).await;
    let found = counts(&*store, &one(), &[a, b]).await;
    assert_eq!(
        found,
        [1, 0],
        "after it was cleared, the count of event a must start from zero"
    );
    let nothing = store.starts(&one(), &[]).await.expect("read");
    assert!(nothing.is_empty());
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// A retry is delivered in a message with the receipt of the first message, but with its own
/// attempt number. Checks that the start of a handler for the retry is counted separately.
pub async fn starts_are_per_attempt<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let first = Start::of(&envelope("a"));
    let [second, third] = [1, 2].map(|attempt| Start { attempt, ..first });
    start(&*store, &one(), 1, &[first, third]).await;
    start(&*store, &one(), 2, &[third]).await;
    let all = [third, second, first];
    assert_eq!(counts(&*store, &one(), &all).await, [2, 0, 1]);
    store
        .survived(&one(), &[first, second])
        .await
        .expect("forgotten");
    assert_eq!(counts(&*store, &one(), &all).await, [2, 0, 0]);
    Store::close(&*store).await;
}

pub async fn starts_are_per_route<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let a = [Start::of(&envelope("a"))];
    for process in 1..=2 {
        start(&*store, &one(), process, &a).await;
    }
    start(&*store, &two(), 1, &a).await;
    assert_eq!(counts(&*store, &one(), &a).await, [2]);
    store.survived(&one(), &a).await.expect("forgotten");
    assert_eq!(counts(&*store, &one(), &a).await, [0]);
    assert_eq!(counts(&*store, &two(), &a).await, [1]);
    Store::close(&*store).await;
}

/// Checks that a process can subtract a start that it has counted, which it does when the handler
/// runs only later. A process cannot subtract a start that another process has counted.
pub async fn a_start_is_retracted_by_its_process_alone<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let a = Start::of(&envelope("a"));
    let count = async |process, kind| {
        let counted = store.start(&one(), &by(process), kind, &[a]).await;
        counted.expect("counted");
    };
    let retract = async |process, kind, is_certain| {
        let counted = CountedStart { kind, is_certain };
        let retracted = store.retract_start(&one(), &by(process), counted, a).await;
        retracted.expect("retracted");
    };
    let (isolated, unproven) = (StartKind::Isolated, StartKind::Unproven);
    let expect = async |all, isolated, unproven| {
        let counts = StartCounts {
            all,
            isolated,
            unproven,
        };
        let found = store.starts(&one(), &[a]).await.expect("read");
        assert_eq!(found, [counts]);
    };
    // Retracting a handler start that was never counted must change nothing.
    retract(1, isolated, true).await;
    expect(0, 0, 0).await;
    // When the only counted start is retracted, no start must be left.
    count(1, unproven).await;
    retract(1, unproven, false).await;
    expect(0, 0, 0).await;

    // Retracting a start of another attempt or on another route must not change the count for the
    // first attempt on route `one`.
    count(1, StartKind::Shared).await;
    count(2, isolated).await;
    let later = Start { attempt: 2, ..a };
    for (route, start) in [(one(), later), (two(), a)] {
        let counted = CountedStart {
            kind: isolated,
            is_certain: true,
        };
        let retracted = store.retract_start(&route, &by(2), counted, start).await;
        retracted.expect("retracted");
    }
    expect(2, 1, 0).await;
    // A process may not receive the reply of the store, and then does not know whether its start
    // was counted. It can subtract this start only while no later start is counted, and only once.
    retract(3, isolated, false).await;
    expect(2, 1, 0).await;
    count(3, isolated).await;
    retract(3, isolated, false).await;
    retract(3, isolated, false).await;
    expect(2, 1, 0).await;
    // The next run of the handler in the same process counts as another start.
    count(3, isolated).await;
    count(4, unproven).await;
    expect(4, 2, 1).await;
    // A process that received the reply can subtract its start even if other processes have counted
    // starts since then.
    retract(3, isolated, true).await;
    expect(3, 1, 1).await;
    // Process 4 still has the latest start, so the repeated call of process 4 does not count a
    // second start.
    count(4, unproven).await;
    expect(3, 1, 1).await;
    retract(4, unproven, true).await;
    retract(2, isolated, true).await;
    expect(1, 0, 0).await;
    Store::close(&*store).await;
}

/// Checks a process that dies while it runs a handler. The effects of the handler are rolled back,
/// and the start marker stays.
pub async fn a_start_outlives_its_process<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let event = envelope("a");
    start(&*store, &one(), 1, &[Start::of(&event)]).await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &event).await, Claimed::Fresh);
    H::effect(store.connection(&mut tx), "a").await;
    // The first process dies here: its transaction and its store connection are dropped.
    drop(tx);
    drop(store);
    let found = counts(&*elsewhere, &one(), &[Start::of(&event)]).await;
    assert_eq!(found, [1]);
    assert_eq!(world.effects("a").await, 0);
    // The counted start does not prevent a claim. Whether the handler of a suspected event runs is
    // decided by the worker, not by the store.
    done(&*elsewhere, &event).await;
    Store::close(&*elsewhere).await;
}
