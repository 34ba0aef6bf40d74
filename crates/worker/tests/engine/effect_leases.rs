//! Tests leases and their epochs: processes that die, ends that are recorded late, and copies of
//! messages.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{CallRecorded, DeadReason, FaultKind};

use crate::call_script::End;
use crate::effects::{assert_one_key, failures, with_effect};
use crate::world::{World, envelope, id, receipt, within};

const SECOND: Duration = Duration::from_secs(1);

/// The length of a lease: the time limit of a call, 10 s, and the margin, 15 s.
const LEASE: Duration = Duration::from_secs(25);

/// So many faults that a worker records the end of a call about 27 s late, which is 2 s longer than
/// a lease.
const LATE: [FaultKind; 11] = [FaultKind::Unavailable; 11];

fn ends(world: &World) -> Vec<(u32, CallRecorded)> {
    let state = world.tables.state();
    let ends = state.rows.leases.ends.iter();
    ends.map(|it| (it.1, it.2)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_call_of_a_process_that_died_is_made_again_when_its_lease_ends() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Kill]);
    world.put_each([1]);
    let is_done = || world.is_done(1);
    let _running = world.restart_until("event 1 must be done", is_done).await;
    let made = world.calls.made_for(id(1));
    assert_eq!(world.calls.epochs(id(1)), [1, 2]);
    assert_one_key(&world, 1);
    assert!(made.iter().all(|it| it.call.attempt == 1), "{made:?}");
    let between = made[1].at - made[0].at;
    assert!((LEASE..LEASE + SECOND).contains(&between), "{between:?}");
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_kills_each_process_is_lost_after_a_few_leases() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Kill; 99]);
    world.put_each([1]);
    let is_dead = || world.dead(id(1)).is_some();
    let _running = world
        .restart_until("event 1 must be a dead letter", is_dead)
        .await;
    let (reason, detail) = world.dead(id(1)).unwrap();
    assert_eq!(reason, DeadReason::Lost);
    assert!(detail.starts_with("4 calls in a row"), "{detail}");
    assert_eq!(world.calls.epochs(id(1)), [1, 2, 3, 4]);
    assert!(world.is_settled());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_ends_the_count_of_lost_leases() {
    let world = with_effect(4);
    let kill = End::Kill;
    world
        .calls
        .next(id(1), [kill, kill, kill, End::Fail, kill, kill, kill]);
    world.put_each([1]);
    let is_done = || world.is_done(1);
    let _running = world.restart_until("event 1 must be done", is_done).await;
    assert_eq!(world.calls.epochs(id(1)), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(failures(&world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_success_of_an_older_call_ends_the_event() {
    let world = with_effect(4);
    world
        .calls
        .next(id(1), [End::Succeed, End::Take(9 * SECOND)]);
    world.tables.fail("end_calls", LATE);
    world.put_each([1]);
    let running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(
        world.calls.in_flight(),
        1,
        "the second call must be in flight"
    );
    let superseded = || running.route().superseded.load(Ordering::Relaxed);
    within("the end of the second call must be recorded", || {
        superseded() == 1
    })
    .await;
    let done = CallRecorded::Done { attempt: 1 };
    assert_eq!(ends(&world), [(1, done), (2, CallRecorded::Superseded)]);
    assert_eq!(running.route().done.load(Ordering::Relaxed), 1);
    assert_one_key(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_of_an_older_call_changes_nothing() {
    let world = with_effect(4);
    world
        .calls
        .next(id(1), [End::Reject, End::Take(9 * SECOND)]);
    world.tables.fail("end_calls", LATE);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    let done = CallRecorded::Done { attempt: 1 };
    assert_eq!(ends(&world), [(1, CallRecorded::Superseded), (2, done)]);
    assert_eq!(failures(&world), []);
    assert_eq!(world.dead(id(1)), None);
}

/// The ends of the first calls for two events are recorded so late that each event gets a second
/// call, under a second lease.
#[tokio::test(start_paused = true)]
async fn two_ends_of_an_event_are_recorded_one_after_the_other() {
    let world = with_effect(4);
    world.calls.next(id(2), [End::Take(SECOND)]);
    world.tables.fail("end_calls", LATE);
    world.put_each([1, 2]);
    let running = world.start();
    let superseded = || running.route().superseded.load(Ordering::Relaxed);
    within("the ends of all four calls must be recorded", || {
        superseded() == 2
    })
    .await;
    assert!(world.are_done(1..=2));
    for number in 1..=2 {
        assert_eq!(world.calls.epochs(id(number)), [1, 2]);
    }
    assert_eq!(running.route().done.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_comes_while_its_event_is_leased_is_a_duplicate() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Take(5 * SECOND)]);
    world.put(&[envelope(1), receipt(1, 2)]);
    let running = world.start();
    within("the call must be in flight", || {
        world.calls.in_flight() == 1
    })
    .await;
    world.put(&[receipt(1, 3)]);
    // A copy of the message, as if the acknowledgement of the message had been lost.
    world.put_each([1]);
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.calls.in_flight(), 1);
    for which in [2, 3] {
        assert_eq!(world.outcome(&receipt(1, which)), Some("duplicate"));
    }
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.calls.made().len(), 1);
    assert_eq!(running.route().redelivered.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_redelivered_after_its_events_were_leased() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Take(5 * SECOND)]);
    world.put_each([1]);
    let _running = world.start();
    within("the call must be in flight", || {
        world.calls.in_flight() == 1
    })
    .await;
    world.queues.lose_connections();
    within("event 1 must be done", || world.is_done(1)).await;
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(world.calls.made().len(), 1);
}

/// The store answers the commit so late that the call must not begin any more.
#[tokio::test(start_paused = true)]
async fn a_call_that_could_begin_only_late_is_not_made() {
    let world = with_effect(4);
    let slow = [6 * SECOND].into();
    world.tables.state().slow.insert("commit", slow);
    world.put_each([1]);
    let running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.calls.epochs(id(1)), [2]);
    assert_eq!(failures(&world), []);
    assert_eq!(running.route().deferred.load(Ordering::Relaxed), 1);
}

/// The time before a transaction begins is no part of a lease. On SQLite, the transactions of other
/// routes may keep it waiting for many seconds.
#[tokio::test(start_paused = true)]
async fn a_call_is_made_when_its_transaction_waited_long_to_begin() {
    let world = with_effect(4);
    let slow = [6 * SECOND].into();
    world.tables.state().slow.insert("begin", slow);
    world.put_each([1]);
    let running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.calls.epochs(id(1)), [1]);
    assert_eq!(running.route().deferred.load(Ordering::Relaxed), 0);
}
