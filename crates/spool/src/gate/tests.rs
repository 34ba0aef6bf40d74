//! Tests the gate without a broker and a spool: what each publish waits for, and when spooling
//! ends.

use std::future::ready;
use std::slice::from_ref;

use super::*;

fn queues<const COUNT: usize>(names: [&str; COUNT]) -> [Queue; COUNT] {
    names.map(|name| Queue::Route(name.parse().unwrap()))
}

/// Returns what the future returns if it does not have to wait.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = ready(()) => None,
    }
}

/// Enters a publish that goes into the spool.
async fn keep<'a>(gate: &'a Gate, queue: &Queue) -> Place<'a> {
    let entry = gate.enter(from_ref(queue), || false).await;
    entry.kept.unwrap()
}

#[tokio::test]
async fn each_queue_of_a_publish_goes_where_its_earlier_messages_went() {
    let [a, b] = queues(["a", "b"]);
    let gate = Gate::new([a.clone()]);
    let entry = gate.enter(&[a.clone(), b.clone()], || true).await;
    assert_eq!(
        entry.kept.as_ref().unwrap().queues(),
        std::slice::from_ref(&a)
    );
    assert_eq!(
        entry.given.as_ref().unwrap().queues(),
        std::slice::from_ref(&b)
    );
    assert!(!gate.is_spooling(&b));
    let entry = gate.enter(&[a, b.clone()], || false).await;
    assert!(entry.given.is_none());
    assert!(gate.is_spooling(&b));
    let none = gate.enter(&[], || false).await;
    assert!(none.given.is_some() && none.kept.is_none());
}

#[tokio::test]
async fn spooled_messages_wait_only_for_earlier_publishes_to_their_queues() {
    let [a, b] = queues(["a", "b"]);
    let gate = Gate::new([]);
    let of_a = gate.enter(from_ref(&a), || true).await.given.unwrap();
    let of_both = gate.enter(&[a.clone(), b.clone()], || true).await;
    let of_both = of_both.given.unwrap();
    let kept_a = gate.enter(&[a], || false).await.kept.unwrap();
    let kept_b = gate.enter(&[b], || false).await.kept.unwrap();
    drop(of_a);
    for kept in [&kept_a, &kept_b] {
        assert!(at_once(kept.is_oldest()).await.is_none());
    }
    let of_both = of_both.keep();
    assert!(at_once(of_both.is_oldest()).await.is_some());
    assert!(at_once(kept_b.is_oldest()).await.is_none());
    drop(of_both);
    for kept in [&kept_a, &kept_b] {
        assert!(at_once(kept.is_oldest()).await.is_some());
    }
}

#[tokio::test]
async fn closing_holds_back_only_its_own_queue_and_waits_for_what_is_on_its_way() {
    let [a, b] = queues(["a", "b"]);
    let gate = Gate::new([a.clone()]);
    let closing = gate.close(&a).unwrap();
    assert!(gate.close(&a).is_none());
    assert!(gate.close(&b).is_none(), "b is not spooling");
    assert!(at_once(gate.enter(from_ref(&b), || true)).await.is_some());
    let both = [a.clone(), b.clone()];
    assert!(at_once(gate.enter(&both, || true)).await.is_none());
    closing.end();
    let on_its_way = gate.enter(&both, || true).await.given.unwrap();
    let kept = gate.enter(from_ref(&a), || false).await.kept.unwrap();
    assert!(gate.close(&a).is_none(), "a publish to a is on its way");
    drop(on_its_way);
    let closing = gate.close(&a).unwrap();
    assert!(at_once(closing.until_none_is_spooled()).await.is_none());
    drop(kept);
    assert!(at_once(closing.until_none_is_spooled()).await.is_some());
    drop(closing);
    assert!(gate.is_spooling(&a), "only `end` ends spooling");
}

#[tokio::test]
async fn spooling_ends_at_once_when_the_spool_has_certainly_stored_nothing() {
    let [a] = queues(["a"]);
    let gate = Gate::new([]);
    let (mut first, mut second) = (keep(&gate, &a).await, keep(&gate, &a).await);
    first.record_refused();
    drop(first);
    assert!(gate.is_spooling(&a), "the second may still be stored");
    second.record_refused();
    drop(second);
    assert!(!gate.is_spooling(&a));
    // Unlike a refused publish, this one may have been stored.
    drop(keep(&gate, &a).await);
    let mut refused = keep(&gate, &a).await;
    refused.record_refused();
    drop(refused);
    assert!(gate.is_spooling(&a));
}

#[tokio::test]
async fn an_end_of_spooling_is_noticed_although_spooling_starts_again() {
    let [a, b] = queues(["a", "b"]);
    let both = [a.clone(), b.clone()];
    let gate = Gate::new(both.clone());
    let mut forwarded = Box::pin(gate.until_forwarded(&both));
    assert!(at_once(&mut forwarded).await.is_none());
    gate.close(&a).unwrap().end();
    drop(gate.enter(from_ref(&a), || false).await);
    assert!(gate.is_spooling(&a));
    assert!(at_once(&mut forwarded).await.is_none());
    gate.close(&b).unwrap().end();
    assert!(at_once(&mut forwarded).await.is_some());
}
