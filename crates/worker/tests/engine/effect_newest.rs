//! Tests external calls of a route that applies only the newest event of each key.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_event::EventId;
use tokio::time::sleep;

use crate::call_script::End;
use crate::effects::failures;
use crate::newest::{of, outcomes, with_rule};
use crate::world::{Running, TIME_LIMIT, World, at_once, id, within};

const SECOND: Duration = Duration::from_secs(1);

fn world(concurrency: u32) -> World {
    let mut world = with_rule();
    world.limits = at_once(concurrency);
    world
}

/// Returns the events of the calls, in the order in which they were made.
fn calls(world: &World) -> Vec<EventId> {
    world.calls.made().iter().map(|made| made.event).collect()
}

#[tokio::test(start_paused = true)]
async fn no_call_is_made_for_an_older_event() {
    let world = world(4);
    let running = world.start();
    for event in [of(1, "a", 5), of(2, "a", 4), of(3, "b", 1), of(4, "a", 6)] {
        let number = event.event.as_bytes()[0];
        world.put(&[event]);
        let ended = || matches!(outcomes(&world, [number]), [Some("done" | "stale")]);
        within("the event must be done or stale", ended).await;
    }
    let expect = [Some("done"), Some("stale"), Some("done"), Some("done")];
    assert_eq!(outcomes(&world, [1, 2, 3, 4]), expect);
    assert_eq!(calls(&world), [id(1), id(3), id(4)]);
    assert_eq!(running.route().stale.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn one_call_per_key_is_in_flight_in_all_processes() {
    let world = world(8);
    world.calls.always(End::Take(5 * SECOND));
    let _processes = [world.start(), world.start()];
    // The call for the newest event of the message is made first. The other events of its key wait,
    // and are stale then.
    world.put(&[of(1, "a", 1), of(2, "a", 3), of(3, "a", 2), of(4, "b", 1)]);
    within("two calls must be in flight", || {
        world.calls.in_flight() == 2
    })
    .await;
    world.put(&[of(5, "a", 4)]);
    let ended = || {
        let all = outcomes(&world, [1, 2, 3, 4, 5]);
        all.iter().all(|it| matches!(it, Some("done" | "stale")))
    };
    within("every event must be done or stale", ended).await;
    let (done, stale) = (Some("done"), Some("stale"));
    assert_eq!(
        outcomes(&world, [1, 2, 3, 4, 5]),
        [stale, done, stale, done, done]
    );
    let of_key: Vec<EventId> = calls(&world)
        .into_iter()
        .filter(|it| *it != id(4))
        .collect();
    assert_eq!(of_key, [id(2), id(5)]);
    let made = world.calls.made_for(id(5));
    let before = world.calls.made_for(id(2));
    assert!(made[0].at - before[0].at >= 5 * SECOND, "{made:?}");
}

#[tokio::test(start_paused = true)]
async fn events_of_a_busy_key_keep_no_place_from_other_keys() {
    let mut world = world(8);
    world.concurrency = 1;
    world.calls.next(id(1), [End::Take(9 * SECOND)]);
    let running = world.start();
    world.put(&[of(1, "a", 1)]);
    within("the call must be in flight", || {
        world.calls.in_flight() == 1
    })
    .await;
    world.put(&[of(2, "a", 2)]);
    within("the message with event 2 must wait in the worker", || {
        world.queues.unsettled() == 1
    })
    .await;
    world.put(&[of(3, "b", 1)]);
    within("event 3, of the other key, must be done", || {
        world.is_done(3)
    })
    .await;
    assert_eq!(world.calls.in_flight(), 1, "key a must still be busy");
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    assert_eq!(calls(&world), [id(1), id(3), id(2)]);
    assert_eq!(failures(&world), []);
    assert!(running.route().deferred.load(Ordering::Relaxed) >= 1);
}

/// If the target asks for a pause, all events of the route wait. If a key is busy, only the events
/// of that key wait.
#[tokio::test(start_paused = true)]
async fn a_busy_key_hides_no_pause_of_the_target() {
    let world = world(8);
    world.calls.next(id(1), [End::Take(9 * SECOND)]);
    world.calls.next(id(2), [End::Busy(Some(50 * SECOND))]);
    let workers = [world.start(), world.start()];
    // After this second, both workers take messages.
    sleep(SECOND).await;
    world.put(&[of(1, "a", 1), of(2, "b", 1)]);
    let is_down = |running: &Running| running.route().target_down.load(Ordering::Relaxed);
    within(
        "one worker must know that the target asked for a pause",
        || workers.iter().any(is_down),
    )
    .await;
    world.put(&[of(3, "a", 2), of(4, "c", 1)]);
    within("the other worker must know of the pause, too", || {
        workers.iter().all(is_down)
    })
    .await;
    assert_eq!(world.calls.in_flight(), 1, "key a must still be busy");
    within("events 1 to 4 must be done", || world.are_done(1..=4)).await;
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_call_an_older_event_is_not_stale() {
    let world = world(4);
    world.calls.next(id(1), [End::FailFor(30 * SECOND)]);
    let _running = world.start();
    world.put(&[of(1, "a", 2)]);
    within("the call for event 1 must fail", || {
        calls(&world) == [id(1)] && world.is_settled()
    })
    .await;
    world.put(&[of(2, "a", 1)]);
    within("event 2, the older one, must be done", || world.is_done(2)).await;
    within("event 1, the newer one, must be done", || world.is_done(1)).await;
    assert_eq!(calls(&world), [id(1), id(2), id(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_holds_a_key_until_its_lease_ends() {
    let world = world(4);
    world.calls.next(id(1), [End::Kill]);
    world.put(&[of(1, "a", 1)]);
    let first = world.start();
    within("the first process must die", || first.process.is_dead()).await;
    let _second = world.start();
    world.put(&[of(2, "a", 2)]);
    within("event 2, the newer one, must be done", || world.is_done(2)).await;
    // Whether the retry of the older event or the newer event comes first is a matter of chance.
    let ended = || matches!(outcomes(&world, [1]), [Some("done" | "stale")]);
    within("event 1, the older one, must be done or stale", ended).await;
    assert_eq!(calls(&world).last(), Some(&id(2)));
    let (first, newer) = (world.calls.made_for(id(1)), world.calls.made_for(id(2)));
    assert!(newer[0].at - first[0].at > TIME_LIMIT, "{newer:?}");
}
