//! Tests how long the calls for an event are deferred before each counts as an attempt.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{DeadReason, FailureClass, Rate};

use crate::call_script::End;
use crate::effects::{failures, with_effect};
use crate::world::{World, id, within};

const SECOND: Duration = Duration::from_secs(1);

/// Asserts that event 1 is a dead letter, that its first attempt was deferred for an hour, and that
/// its other attempts were not deferred.
fn assert_exhausted_after_an_hour(world: &World) {
    assert_eq!(world.dead(id(1)).unwrap().0, DeadReason::Exhausted);
    let transient = FailureClass::Transient;
    let expect = [(1, transient), (2, transient), (3, transient)];
    assert_eq!(failures(world), expect);
    let made = world.calls.made_for(id(1));
    let [.., last_deferred, second, third] = &made[..] else {
        panic!("the call must be made several times: {made:?}");
    };
    let attempts = [last_deferred, second, third].map(|made| made.call.attempt);
    assert_eq!(attempts, [1, 2, 3]);
    let lasted = last_deferred.at - made[0].at;
    let hour = 3600 * SECOND;
    assert!((hour..hour + 120 * SECOND).contains(&lasted), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_busy_costs_an_attempt_after_an_hour() {
    let world = with_effect(4);
    world.calls.always(End::Busy(None));
    world.put_each([1]);
    let _running = world.started().await;
    tokio::time::sleep(59 * 60 * SECOND).await;
    assert_eq!(failures(&world), [], "no attempt may count within an hour");
    assert!(
        world.calls.made().len() > 50,
        "the call must be made again about once a minute"
    );
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_exhausted_after_an_hour(&world);
}

/// The target answers the calls for all other events, so only this event can be the cause.
#[tokio::test(start_paused = true)]
async fn an_event_that_never_reaches_the_target_is_exhausted() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Fault; 999]);
    world.put_each([1, 2]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_exhausted_after_an_hour(&world);
    assert!(world.is_done(2));
}

/// A service with two nodes answers an event in turn with 429 and not at all. The pauses keep the
/// breaker closed, and only the hour of deferrals ends them.
#[tokio::test(start_paused = true)]
async fn an_event_that_meets_faults_and_pauses_in_turn_is_exhausted() {
    let world = with_effect(4);
    let in_turn = [End::Busy(None), End::Fault].into_iter().cycle();
    world.calls.next(id(1), in_turn.take(999));
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.dead(id(1)).is_some()
    })
    .await;
    assert_exhausted_after_an_hour(&world);
}

/// After the hour, an attempt may still fail in another way. Then the hour starts anew.
#[tokio::test(start_paused = true)]
async fn another_failure_ends_an_expired_deferral() {
    let world = with_effect(4);
    world.calls.always(End::Fault);
    world.put_each([1]);
    let running = world.started().await;
    tokio::time::sleep(3600 * SECOND).await;
    within("a fault must count after an hour", || {
        failures(&world).len() == 1
    })
    .await;
    world.calls.next(id(1), [End::Fail]);
    within("the second attempt must fail", || {
        failures(&world).len() == 2
    })
    .await;
    let deferred = running.route().deferred.load(Ordering::Relaxed);
    within("the third attempt must be deferred", || {
        running.route().deferred.load(Ordering::Relaxed) > deferred
    })
    .await;
    assert_eq!(failures(&world).len(), 2);
}

/// At a low rate an event may wait for hours until the first call is made for it. That time does
/// not count, because the target was not called.
#[tokio::test(start_paused = true)]
async fn the_wait_for_the_first_call_does_not_count() {
    let mut world = with_effect(4);
    if let Some(limits) = &mut world.limits {
        limits.rate = Some(Rate {
            calls: NonZeroU32::MIN,
            per: 40 * 60 * SECOND,
        });
    }
    for number in 1..=4 {
        world.calls.next(id(number), [End::Busy(None)]);
    }
    world.put_each(1..=4);
    let _running = world.start();
    within("events 1 to 4 must be done", || world.are_done(1..=4)).await;
    assert_eq!(world.calls.made().len(), 8);
    assert_eq!(failures(&world), []);
}
