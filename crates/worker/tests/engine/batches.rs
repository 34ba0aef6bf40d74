//! Tests messages with several events: the events share one transaction. After a failure, the event
//! that failed runs alone, and the others run together again.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hookbox_driver::{DeadReason, FailureClass, Queue};
use hookbox_event::{ContentDigest, Digester, Envelope, EventId};
use hookbox_worker::OnConflict;

use crate::script::Act;
use crate::world::{World, envelope, id, receipt, route, within};

#[tokio::test(start_paused = true)]
async fn a_message_is_one_transaction_and_is_acknowledged_after_its_commit() {
    let world = World::new();
    world.put(&[envelope(1), envelope(2), envelope(3)]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    let steps = world.journal.only(&["begin", "commit", "ack"]);
    assert_eq!(steps, ["begin for a handler", "commit 3", "ack"]);
    assert_eq!(running.route().done.load(Ordering::Relaxed), 3);
    assert_eq!(running.route().in_flight.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn small_messages_that_wait_share_a_transaction() {
    let world = World::new();
    world.put_each(1..=3);
    let _running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    let steps = world.journal.only(&["commit", "ack"]);
    assert_eq!(steps, ["commit 3", "ack", "ack", "ack"]);
}

#[tokio::test(start_paused = true)]
async fn one_failure_costs_its_neighbours_nothing() {
    let world = World::new();
    world.script.next(id(2), [Act::Fail, Act::Fail]);
    world.put(&[envelope(1), envelope(2), envelope(3)]);
    let _running = world.start();
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    let failures = world.tables.state().rows.failures.clone();
    assert_eq!(failures, [(id(2), 1, FailureClass::Transient)]);
    for number in 1..=3 {
        assert_eq!(
            world.effects(number),
            1,
            "event {number} must have its effect once"
        );
    }
    let attempts = |number| {
        let runs = world.script.runs_of(id(number));
        runs.iter().map(|run| run.attempt).collect::<Vec<_>>()
    };
    assert_eq!(
        attempts(1),
        [1, 1],
        "event 1 must run in the batch, which is rolled back, and then together with event 3"
    );
    assert_eq!(attempts(2), [1, 1, 2]);
    assert_eq!(attempts(3), [1]);
    let commits = world.journal.only(&["commit"]);
    assert_eq!(
        commits,
        ["commit 2", "commit 1"],
        "events 1 and 3 must run together again, and event 2 alone"
    );
}

#[tokio::test(start_paused = true)]
async fn receipts_of_one_event_run_in_rounds() {
    let world = World::new();
    world.put(&[receipt(1, 1), receipt(1, 2), envelope(2)]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.outcome(&receipt(1, 1)), Some("done"));
    assert_eq!(world.outcome(&receipt(1, 2)), Some("duplicate"));
    assert_eq!(world.effects(1), 1);
    assert_eq!(running.route().duplicate.load(Ordering::Relaxed), 1);
    assert_eq!(world.journal.only(&["commit"]), ["commit 2", "commit 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_has_its_outcome_changes_nothing() {
    let world = World::new();
    world.put_each([1]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    world.put_each([1]);
    let redelivered = || running.route().redelivered.load(Ordering::Relaxed) == 1;
    within(
        "the second copy of the message must be acknowledged",
        || redelivered() && world.is_settled(),
    )
    .await;
    assert_eq!(world.effects(1), 1);
    assert_eq!(world.journal.only(&["commit"]), ["commit 1"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_envelope_become_a_dead_letter_and_harm_no_other() {
    let world = World::new();
    let junk = Bytes::from_static(b"junk");
    world.queues.put(Queue::Route(route()), junk.clone(), false);
    world.put_each([1]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    let (reason, detail) = world
        .dead(EventId::of_undecodable(&Digester::Plain, &junk))
        .unwrap();
    assert_eq!(reason, DeadReason::Undecodable);
    assert!(!detail.contains("junk"), "{detail}");
    assert!(world.is_done(1));
    assert_eq!(running.route().dead.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_stored_already_are_no_second_dead_letter() {
    let world = World::new();
    for _ in 0..2 {
        let junk = Bytes::from_static(b"junk");
        world.queues.put(Queue::Route(route()), junk, false);
    }
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(running.route().dead.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_one_handler_broke_fails_that_one_alone() {
    let mut world = World::new();
    world.is_trusted = true;
    world.script.next(id(2), [Act::BreakTransaction; 2]);
    world.put(&[envelope(1), envelope(2), envelope(3)]);
    let _running = world.start();
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    let failures = world.tables.state().rows.failures.clone();
    assert_eq!(failures, [(id(2), 1, FailureClass::BrokeTransaction)]);
    for number in 1..=3 {
        assert_eq!(
            world.effects(number),
            1,
            "event {number} must have its effect once"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_committed_by_itself_never_runs_again() {
    let world = World::new();
    world.script.next(id(2), [Act::EndTransaction]);
    world.put(&[envelope(1), envelope(2), envelope(3)]);
    let _running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    for (number, runs) in [(1, 1), (2, 1), (3, 0)] {
        let (reason, _) = world.dead(id(number)).unwrap();
        assert_eq!(
            reason,
            DeadReason::Orphaned,
            "event {number} must be orphaned"
        );
        assert_eq!(
            world.script.runs_of(id(number)).len(),
            runs,
            "event {number}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_body_under_a_known_id_is_a_dead_letter_without_a_run() {
    let world = World::new();
    world.put_each([1]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    let digest = ContentDigest::of_raw_body(&Digester::Plain, b"other");
    let other = Envelope {
        digest,
        ..receipt(1, 2)
    };
    world.put(std::slice::from_ref(&other));
    within("the receipt with another body must get its outcome", || {
        world.outcome(&other).is_some()
    })
    .await;
    assert_eq!(world.outcome(&other), Some("conflict"));
    let own_id = EventId::of_conflict(&Digester::Plain, &id(1), &digest);
    assert_eq!(world.dead(own_id).unwrap().0, DeadReason::Conflict);
    assert_eq!(world.script.runs().len(), 1);
    assert_eq!(running.route().conflict.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn where_the_id_decides_the_stored_body_runs() {
    let mut world = World::new();
    world.on_conflict = OnConflict::Duplicate;
    let with_body = |which, text: &'static str| Envelope {
        digest: ContentDigest::of_raw_body(&Digester::Plain, text.as_bytes()),
        body: Bytes::from_static(text.as_bytes()),
        ..receipt(1, which)
    };
    let (first, second) = (with_body(1, "{\"a\":1}"), with_body(2, "{\"b\":2}"));
    // This route has not claimed the event: the receipt with the first body was for other routes
    // only.
    let stored = std::slice::from_ref(&first);
    world.tables.state().rows.keep_events(stored);
    world.put(std::slice::from_ref(&second));
    let _running = world.start();
    within("the second receipt must be done", || {
        world.outcome(&second) == Some("done")
    })
    .await;
    let bodies: Vec<Bytes> = world.script.runs().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [first.body]);
}
