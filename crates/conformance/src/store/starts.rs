//! Starts of handlers: counted, seen by everybody, forgotten.

use hookbox_driver::{Claimed, Start, Store};
use hookbox_event::InstanceId;

use super::{claim, done};
use crate::envelope;
use crate::harness::{StoreHarness, one, two};

/// A process.
fn by(number: u8) -> InstanceId {
    InstanceId::from_bytes([number; 16])
}

pub async fn starts_are_counted_until_a_process_survives<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let [a, b, c] = ["a", "b", "c"].map(|name| Start::of(&envelope(name)));
    let counts = store.starts(&one(), &[b, a, c]).await.expect("read");
    assert_eq!(counts, [0, 0, 0]);
    store.start(&one(), &by(1), &[a]).await.expect("counted");
    elsewhere
        .start(&one(), &by(2), &[b, a])
        .await
        .expect("counted");
    // Not heard of, and said again.
    elsewhere
        .start(&one(), &by(2), &[b, a])
        .await
        .expect("counted");
    store.start(&one(), &by(1), &[a, c]).await.expect("counted");
    // In the order asked for, whoever asks.
    for store in [&store, &elsewhere] {
        let counts = store.starts(&one(), &[b, a, c]).await.expect("read");
        assert_eq!(counts, [1, 3, 1]);
    }
    elsewhere
        .survived(&one(), &[c, a])
        .await
        .expect("forgotten");
    let counts = store.starts(&one(), &[a, b, c]).await.expect("read");
    assert_eq!(counts, [0, 1, 0], "what was not named stays");
    store.survived(&one(), &[a, b]).await.expect("forgotten");
    store.start(&one(), &by(1), &[a]).await.expect("counted");
    let counts = store.starts(&one(), &[a, b]).await.expect("read");
    assert_eq!(counts, [1, 0], "it counts from the beginning");
    let nothing = store.starts(&one(), &[]).await.expect("read");
    assert!(nothing.is_empty());
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// What a retry asks for is another thing than what the first message asked for.
pub async fn starts_are_per_attempt<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let first = Start::of(&envelope("a"));
    let [second, third] = [1, 2].map(|attempt| Start { attempt, ..first });
    store
        .start(&one(), &by(1), &[first, third])
        .await
        .expect("counted");
    store
        .start(&one(), &by(2), &[third])
        .await
        .expect("counted");
    let all = [third, second, first];
    assert_eq!(store.starts(&one(), &all).await.expect("read"), [2, 0, 1]);
    store
        .survived(&one(), &[first, second])
        .await
        .expect("forgotten");
    assert_eq!(store.starts(&one(), &all).await.expect("read"), [2, 0, 0]);
    Store::close(&*store).await;
}

pub async fn starts_are_per_route<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let a = [Start::of(&envelope("a"))];
    for process in 1..=2 {
        store
            .start(&one(), &by(process), &a)
            .await
            .expect("counted");
    }
    store.start(&two(), &by(1), &a).await.expect("counted");
    assert_eq!(store.starts(&one(), &a).await.expect("read"), [2]);
    store.survived(&one(), &a).await.expect("forgotten");
    assert_eq!(store.starts(&one(), &a).await.expect("read"), [0]);
    assert_eq!(store.starts(&two(), &a).await.expect("read"), [1]);
    Store::close(&*store).await;
}

/// What a process wrote that died in the middle of a handler is gone; that it began is not.
pub async fn a_start_outlives_its_process<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    let event = envelope("a");
    store
        .start(&one(), &by(1), &[Start::of(&event)])
        .await
        .expect("counted");
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(claim(&*store, &mut tx, &event).await, Claimed::Fresh);
    H::effect(store.connection(&mut tx), "a").await;
    // Here it dies.
    drop(tx);
    drop(store);
    let counts = elsewhere.starts(&one(), &[Start::of(&event)]).await;
    assert_eq!(counts.expect("read"), [1]);
    assert_eq!(world.effects("a").await, 0);
    // A count bars nobody: whether it is to run is the worker's to decide.
    done(&*elsewhere, &event).await;
    Store::close(&*elsewhere).await;
}
