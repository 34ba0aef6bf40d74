//! Tests failures of a handler: which of them count as attempts, when the next attempt comes, and
//! when there is no further attempt.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{ClaimState, DeadReason, FailureClass, FaultKind, Outcome};
use hookbox_event::{ContentDigest, Digester, Envelope, EventId};
use hookbox_worker::OnConflict;

use crate::script::Act;
use crate::world::{World, envelope, id, on, receipt, within};

fn failures(world: &World) -> Vec<(u32, FailureClass)> {
    let state = world.tables.state();
    let failures = state.rows.failures.iter();
    failures
        .map(|(_, attempt, class)| (*attempt, *class))
        .collect()
}

/// Returns the seconds between the runs of an event, rounded down.
fn delays(world: &World, number: u8) -> Vec<u64> {
    let runs = world.script.runs_of(id(number));
    let pairs = runs.iter().zip(runs.iter().skip(1));
    pairs
        .map(|(one, next)| (next.at - one.at).as_secs())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_tried_again_until_it_is_exhausted() {
    let world = World::new();
    world.script.always(id(1), Act::Fail);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Exhausted);
    let transient = FailureClass::Transient;
    assert_eq!(
        failures(&world),
        [(1, transient), (2, transient), (3, transient)]
    );
    assert_eq!(delays(&world, 1), [1, 2]);
    assert_eq!(world.effects(1), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_ask_for_a_delay() {
    let world = World::new();
    world
        .script
        .next(id(1), [Act::FailFor(Duration::from_secs(30))]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(delays(&world, 1), [30]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_a_dead_letter_at_once() {
    let world = World::new();
    world.script.always(id(1), Act::Reject);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Rejected);
    assert_eq!(failures(&world), [(1, FailureClass::Permanent)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_attempt_and_the_worker_works_on() {
    for act in [Act::Panic, Act::PanicAtCall, Act::FailWithoutText] {
        let world = World::new();
        world.script.next(id(1), [act]);
        world.put_each([1]);
        let _running = world.start();
        within("event 1 must be done", || world.is_done(1)).await;
        assert_eq!(failures(&world), [(1, FailureClass::Panicked)], "{act:?}");
        assert_eq!(world.script.runs_of(id(1))[1].attempt, 2, "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_stopped_at_its_time_limit() {
    let world = World::new();
    world.script.next(id(1), [Act::Hang]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(failures(&world), [(1, FailureClass::TimedOut)]);
    // The first run ends at its time limit of 10 s, and the first delay of the retry policy is 1
    // s.
    assert_eq!(delays(&world, 1), [11]);
}

/// A process may be stopped for minutes between the claim of an event and the run of its handler.
#[tokio::test(start_paused = true)]
async fn an_event_alone_in_its_transaction_runs_however_old_the_transaction_is() {
    let world = World::new();
    let body = Bytes::from_static(b"600");
    let digest = ContentDigest::of_raw_body(&Digester::Plain, &body);
    let slow = Envelope {
        body,
        digest,
        ..envelope(1)
    };
    world.put(&[slow]);
    let _running = world.start();
    within("the message must be acknowledged", || world.is_settled()).await;
    assert!(world.is_done(1), "no event may be lost");
    assert_eq!(world.effects(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_json_is_a_dead_letter_without_a_run() {
    let world = World::new();
    let body = Bytes::from_static(b"nope");
    world.put(&[Envelope {
        body,
        ..envelope(1)
    }]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Malformed);
    assert!(world.script.runs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_its_transaction_is_not_run_again() {
    let world = World::new();
    world.script.always(id(1), Act::EndTransaction);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Orphaned);
    assert_eq!(failures(&world), [(1, FailureClass::BrokeTransaction)]);
    assert_eq!(world.script.runs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_breaks_its_transaction_has_failed() {
    for is_trusted in [false, true] {
        let mut world = World::new();
        world.is_trusted = is_trusted;
        world.script.next(id(1), [Act::BreakTransaction]);
        world.put_each([1]);
        let _running = world.start();
        within("event 1 must be done", || world.is_done(1)).await;
        let broke = (1, FailureClass::BrokeTransaction);
        assert_eq!(
            failures(&world),
            [broke],
            "one failed attempt must count (trusted: {is_trusted})"
        );
        assert_eq!(
            world.effects(1),
            1,
            "event 1 must have its effect once (trusted: {is_trusted})"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_recorded_once_through_an_outage() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.tables.fail("fail", [FaultKind::Unavailable; 3]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(failures(&world), [(1, FailureClass::Transient)]);
    assert_eq!(
        world.script.runs().len(),
        2,
        "event 1 must not run again before its first failure is recorded"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_a_round_of_attempts_of_its_own() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail; 4]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    world.tables.state().rows.replay(&on(id(1)));
    within("event 1 must be done", || world.is_done(1)).await;
    let attempts: Vec<u32> = world.script.runs().iter().map(|it| it.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
    let rounds: Vec<u32> = world.script.runs().iter().map(|it| it.round).collect();
    assert_eq!(rounds, [1, 1, 1, 4, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_superseded_is_no_outcome() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.tables.fail("fail", [FaultKind::Unavailable; 4]);
    world.put_each([1]);
    let running = world.start();
    let is_paused = || running.route().paused.load(Ordering::Relaxed);
    within("the worker must wait to record the failure", is_paused).await;
    // Another process has brought the event to an outcome through another receipt.
    {
        let rows = &mut world.tables.state().rows;
        rows.keep_events(&[envelope(1)]);
        let done = Outcome::Done { attempt: 1 };
        rows.settle(&on(id(1)).0, &receipt(1, 2), &done);
    }
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.outcome(&envelope(1)), Some("duplicate"));
    assert!(failures(&world).is_empty());
}

/// The handler ends its own transaction, and its claim is gone. Before the worker can record that,
/// another route stores another body of the event. The handler must not run again.
#[tokio::test(start_paused = true)]
async fn a_handler_that_has_ended_its_transaction_is_not_run_again_for_another_body() {
    let mut world = World::new();
    world.on_conflict = OnConflict::Process;
    world.script.always(id(1), Act::EndTransaction);
    world.tables.fail("fail", [FaultKind::Unavailable; 4]);
    world.put_each([1]);
    let running = world.start();
    let is_paused = || running.route().paused.load(Ordering::Relaxed);
    within("the worker must wait to record the failure", is_paused).await;
    {
        let rows = &mut world.tables.state().rows;
        rows.claims.remove(&on(id(1)));
        rows.events.remove(&id(1));
        let body = Bytes::from_static(b"[]");
        rows.keep_events(&[Envelope {
            digest: ContentDigest::of_raw_body(&Digester::Plain, &body),
            body,
            ..receipt(1, 2)
        }]);
    }
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(
        world.script.runs().len(),
        1,
        "the handler must not run again, because the effects of its first run may stand"
    );
    let own_id = EventId::of_conflict(&Digester::Plain, &id(1), &envelope(1).digest);
    let (reason, detail) = world.dead(own_id).unwrap();
    assert_eq!(reason, DeadReason::Orphaned);
    assert!(detail.contains("changed by another receipt"), "{detail}");
}

/// The event is orphaned, and another process is the first to store it as a dead letter. Then this
/// batch settles a receipt with another body of the same event. The receipt must keep the digest of
/// its own body.
#[tokio::test(start_paused = true)]
async fn a_batch_keeps_what_a_receipt_of_another_body_said() {
    let mut world = World::new();
    world.on_conflict = OnConflict::Duplicate;
    let body = Bytes::from_static(b"[]");
    let other = Envelope {
        digest: ContentDigest::of_raw_body(&Digester::Plain, &body),
        body,
        ..receipt(1, 2)
    };
    {
        let rows = &mut world.tables.state().rows;
        rows.keep_events(&[envelope(1)]);
        rows.claims.insert(on(id(1)), ClaimState::Running);
    }
    world.tables.fail("fail", [FaultKind::Unavailable; 4]);
    world.put(&[other.clone(), envelope(2)]);
    let running = world.start();
    let is_paused = || running.route().paused.load(Ordering::Relaxed);
    within("the worker must wait to record the failure", is_paused).await;
    {
        let claims = &mut world.tables.state().rows.claims;
        claims.insert(on(id(1)), ClaimState::Dead);
    }
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.outcome(&other), Some("duplicate"));
    let recorded = world.tables.state().rows.other_digests.clone();
    assert_eq!(recorded.get(&other.receipt), Some(&other.digest));
}

#[tokio::test(start_paused = true)]
async fn a_connection_stays_in_use_only_after_an_error_that_the_handler_returned() {
    for (act, expected) in [
        (Act::Fail, "rollback failed"),
        (Act::Reject, "rollback failed"),
        (Act::BreakTransaction, "rollback"),
        (Act::EndTransaction, "rollback"),
        (Act::EndAndFail, "rollback"),
        (Act::Store(FaultKind::Contention), "rollback"),
        (Act::Store(FaultKind::Unavailable), "rollback"),
    ] {
        let world = World::new();
        world.script.next(id(1), [act]);
        world.put_each([1]);
        let running = world.start();
        within("the transaction must be rolled back", || {
            !world.journal.only(&["rollback"]).is_empty()
        })
        .await;
        running.drain().await;
        assert_eq!(world.journal.only(&["rollback"])[0], expected, "{act:?}");
    }
}
