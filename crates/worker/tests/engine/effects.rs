//! Tests what becomes of an event when its external call succeeds or fails, and when no call can be
//! made for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{ClaimState, DeadReason, DeferReason, FailureClass, FaultKind};
use hookbox_event::{ContentDigest, Digester, Envelope};
use hookbox_worker::{Schemas, SourceSchemas};

use crate::call_script::End;
use crate::world::{World, at_once, envelope, id, on, receipt, within};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a world whose route has an effect with this many calls at once.
pub fn with_effect(concurrency: u32) -> World {
    let mut world = World::new();
    world.limits = at_once(concurrency);
    world
}

pub fn failures(world: &World) -> Vec<(u32, FailureClass)> {
    let state = world.tables.state();
    let failures = state.rows.failures.iter();
    failures.map(|it| (it.1, it.2)).collect()
}

/// Returns the seconds between the calls for an event, rounded down.
fn delays(world: &World, number: u8) -> Vec<u64> {
    let made = world.calls.made_for(id(number));
    let pairs = made.iter().zip(made.iter().skip(1));
    pairs
        .map(|(one, next)| (next.at - one.at).as_secs())
        .collect()
}

fn attempts(world: &World, number: u8) -> Vec<u32> {
    let made = world.calls.made_for(id(number));
    made.iter().map(|it| it.call.attempt).collect()
}

/// Asserts that every call for an event had the same key and a higher epoch than the one before.
pub fn assert_one_key(world: &World, number: u8) {
    let made = world.calls.made_for(id(number));
    for (one, next) in made.iter().zip(made.iter().skip(1)) {
        assert_eq!(one.call.key, next.call.key);
        assert!(one.call.epoch < next.call.epoch, "{made:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_does_not_wait_for_the_call() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Take(5 * SECOND)]);
    world.put_each([1]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.outcome(&envelope(1)), Some("retrying"));
    let in_flight = || running.route().calls_in_flight.load(Ordering::Relaxed);
    assert_eq!(in_flight(), 1);
    within("event 1 must be done", || world.is_done(1)).await;
    let steps = world.journal.only(&["begin", "commit", "ack"]);
    assert_eq!(steps, ["begin", "commit 0", "ack"]);
    assert_eq!(in_flight(), 0);
    let made = world.calls.made();
    assert_eq!(made.len(), 1);
    let call = &made[0].call;
    assert_eq!(call.key, format!("{}-scores-1", id(1)));
    assert_eq!((call.epoch, call.attempt), (1, 1));
    assert_eq!(running.route().done.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_tried_again_with_the_same_key() {
    let world = with_effect(4);
    world
        .calls
        .next(id(1), [End::Fail, End::FailFor(30 * SECOND)]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    let transient = FailureClass::Transient;
    assert_eq!(failures(&world), [(1, transient), (2, transient)]);
    assert_eq!(delays(&world, 1), [1, 30]);
    assert_eq!(attempts(&world, 1), [1, 2, 3]);
    assert_one_key(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_dead_letter_keeps_its_key_and_a_done_event_gets_another() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Fail; 3]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Exhausted);
    world.tables.state().rows.replay(&on(id(1)));
    within("event 1 must be done", || world.is_done(1)).await;
    let made = world.calls.made_for(id(1));
    let keys: Vec<&str> = made.iter().map(|it| it.call.key.as_str()).collect();
    // One of the failed calls may have had its effect, so the receiver must recognise the next one.
    let key = |effect: u32| format!("{}-scores-{effect}", id(1));
    assert_eq!(keys, [key(1), key(1), key(1), key(1)]);
    world.tables.state().rows.replay(&on(id(1)));
    within("event 1 must be done again", || {
        world.calls.made_for(id(1)).len() == 5 && world.is_done(1)
    })
    .await;
    let made = world.calls.made_for(id(1));
    assert_eq!(made[4].call.key, key(5));
    assert_eq!(world.calls.epochs(id(1)), [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_a_dead_letter_at_once() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Reject]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    let (reason, error) = world.dead(id(1)).unwrap();
    assert_eq!(
        (reason, error.as_str()),
        (DeadReason::Rejected, "the handler never accepts it")
    );
    assert_eq!(failures(&world), [(1, FailureClass::Permanent)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_an_exceeded_time_limit_are_attempts() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Panic, End::Hang]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    let expect = [(1, FailureClass::Panicked), (2, FailureClass::TimedOut)];
    assert_eq!(failures(&world), expect);
    // The second call ends at its time limit of 10 s, and the second delay is 2 s.
    assert_eq!(delays(&world, 1), [1, 12]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_target_costs_no_attempt_and_is_left_alone_for_as_long_as_it_asks() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Busy(Some(10 * SECOND))]);
    world.put_each([1]);
    let running = world.start();
    within("the first call must be made", || {
        world.calls.made().len() == 1
    })
    .await;
    within("event 1 must be deferred", || {
        running.route().deferred.load(Ordering::Relaxed) == 1
    })
    .await;
    world.put_each([2]);
    within("events 1 and 2 must be done", || world.are_done(1..=2)).await;
    assert_eq!(failures(&world), []);
    assert_eq!(attempts(&world, 1), [1, 1]);
    let first = world.calls.made()[0].at;
    for made in &world.calls.made()[1..] {
        assert!(made.at - first >= 10 * SECOND, "{made:?}");
    }
    assert_one_key(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_reached_costs_no_attempt() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Fault; 4]);
    world.put_each([1]);
    let running = world.start();
    let deferred = || {
        let state = world.tables.state();
        let retry = state.rows.retries.get(&on(id(1)))?;
        retry.deferred.map(|deferred| deferred.0)
    };
    within("event 1 must be deferred", || {
        deferred() == Some(DeferReason::TargetFault)
    })
    .await;
    within("event 1 must be done", || world.is_done(1)).await;
    // The store keeps with the target why it was not reached.
    let errors = world.tables.state().rows.leases.last_errors.clone();
    let errors: Vec<&str> = errors.values().map(String::as_str).collect();
    assert_eq!(errors, ["connection refused"]);
    assert_eq!(failures(&world), []);
    assert_eq!(attempts(&world, 1), [1; 5]);
    assert_eq!(running.route().deferred.load(Ordering::Relaxed), 4);
    assert_one_key(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn no_call_is_made_for_a_body_that_is_not_valid() {
    let mut world = with_effect(4);
    let schema = serde_json::json!({ "required": ["uid"] });
    let schemas = Schemas::compile([(Schemas::UNKNOWN, &schema)]).unwrap();
    let source = envelope(1).source;
    world.schemas = SourceSchemas::new(HashMap::from([(source, Arc::new(schemas))]));
    let with_body = |number, body: &'static str| Envelope {
        body: Bytes::from_static(body.as_bytes()),
        ..envelope(number)
    };
    let valid = with_body(3, "{\"uid\":1}");
    world.put(&[with_body(1, "nope"), with_body(2, "{}"), valid]);
    let _running = world.start();
    within("event 3, the valid one, must be done", || world.is_done(3)).await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Malformed);
    assert_eq!(world.dead(id(2)).unwrap().0, DeadReason::SchemaBroken);
    assert_eq!(world.calls.made().len(), 1);
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn no_call_is_made_for_an_event_whose_payload_cannot_be_made() {
    let world = with_effect(4);
    let zero = Envelope {
        body: Bytes::from_static(b"0"),
        ..envelope(1)
    };
    world.put(&[zero, envelope(2)]);
    let _running = world.start();
    within("event 2 must be done", || world.is_done(2)).await;
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Rejected);
    assert_eq!(failures(&world), [(1, FailureClass::Permanent)]);
    assert_eq!(world.calls.made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_a_dead_letter_without_a_call() {
    let world = with_effect(4);
    let body = Bytes::from_static(b"[]");
    let other = Envelope {
        digest: ContentDigest::of_raw_body(&Digester::Plain, &body),
        body,
        ..receipt(1, 2)
    };
    world.put_each([1]);
    world.put(std::slice::from_ref(&other));
    let running = world.start();
    within("the event with the first body must be done", || {
        world.is_done(1)
    })
    .await;
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.outcome(&other), Some("conflict"));
    assert_eq!(running.route().conflict.load(Ordering::Relaxed), 1);
    assert_eq!(world.calls.made().len(), 1);
}

/// The route had a handler, which ended its own transaction. Now it has an effect.
#[tokio::test(start_paused = true)]
async fn an_orphan_of_an_earlier_handler_is_a_dead_letter_without_a_call() {
    let world = with_effect(4);
    {
        let rows = &mut world.tables.state().rows;
        rows.keep_events(&[envelope(1)]);
        rows.claims.insert(on(id(1)), ClaimState::Running);
    }
    world.put_each([1, 2]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Orphaned);
    within("event 2 must be done", || world.is_done(2)).await;
    assert_eq!(world.calls.made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_events_are_leased_is_waited_out() {
    for operation in ["begin", "claim", "lease", "settle", "withdraw", "commit"] {
        let world = with_effect(4);
        let faults = [FaultKind::Unavailable, FaultKind::Contention];
        world.tables.fail(operation, faults);
        world.put(&[envelope(1), envelope(2)]);
        let _running = world.start();
        within("events 1 and 2 must be done", || world.are_done(1..=2)).await;
        assert_eq!(world.calls.made().len(), 2, "{operation}");
        assert_eq!(failures(&world), [], "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_ends_are_recorded_makes_no_second_call() {
    let world = with_effect(4);
    world.tables.fail("end_calls", [FaultKind::Unavailable; 6]);
    world.calls.next(id(2), [End::Fail]);
    world.put_each([1, 2]);
    let running = world.start();
    within("events 1 and 2 must be done", || world.are_done(1..=2)).await;
    assert_eq!(world.calls.made_for(id(1)).len(), 1);
    assert_eq!(world.calls.made_for(id(2)).len(), 2);
    assert_eq!(failures(&world), [(1, FailureClass::Transient)]);
    assert!(!running.route().paused.load(Ordering::Relaxed));
}
