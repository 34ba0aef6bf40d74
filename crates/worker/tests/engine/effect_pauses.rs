//! Tests of pauses and limits that operators set for a route with external calls.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::Queue;
use tokio::time::sleep;

use crate::call_script::End;
use crate::effects::{failures, with_effect};
use crate::pauses::{limit, one, pause, resume};
use crate::world::{Running, World, envelope, route, within};

const SECOND: Duration = Duration::from_secs(1);

fn waiting(world: &World) -> usize {
    world.queues.waiting(&Queue::Route(route())).len()
}

/// Pauses the route, and waits until the worker shows that.
async fn paused(world: &World, running: &Running) {
    pause(world, &one());
    let is_shown = || running.route().operator_pause().is_some();
    within("the counters must show the pause", is_shown).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_calls_and_returns_messages() {
    let world = with_effect(1);
    world.calls.always(End::Take(5 * SECOND));
    world.put_each(1..=3);
    let running = world.started().await;
    within("a call must be in flight", || world.calls.in_flight() == 1).await;
    paused(&world, &running).await;
    within("event 1, whose call was in flight, must be done", || {
        world.is_done(1)
    })
    .await;
    within("no message must be in flight", || {
        world.queues.unsettled() == 0
    })
    .await;
    sleep(3600 * SECOND).await;
    assert_eq!((world.calls.made().len(), waiting(&world)), (1, 2));
    resume(&world, &one());
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    assert_eq!(world.calls.made().len(), 3);
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_paused_route_waits_for_no_target() {
    let world = with_effect(8);
    world.calls.always(End::Fault);
    world.put(&[1, 2, 3, 4, 5].map(envelope));
    let running = world.started().await;
    let is_down = || running.route().target_down.load(Ordering::Relaxed);
    within("the counters must show that the target is down", is_down).await;
    paused(&world, &running).await;
    within(
        "the counters must show that the route waits for no target",
        || !is_down(),
    )
    .await;
    let made = world.calls.made().len();
    sleep(3600 * SECOND).await;
    assert_eq!(world.calls.made().len(), made);
    assert!(!is_down());
    world.calls.always(End::Succeed);
    resume(&world, &one());
    within("events 1 to 5 must be done", || world.are_done(1..=5)).await;
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_an_operator_holds_for_calls() {
    let world = with_effect(8);
    world.operate(&one(), &limit(Some("0.5/s"), None));
    world.put_each(1..=5);
    let _running = world.started().await;
    within("events 1 to 5 must be done", || world.are_done(1..=5)).await;
    let made = world.calls.made();
    assert_eq!(made.len(), 5);
    for (call, next) in made.iter().zip(made.iter().skip(1)) {
        assert!(next.at - call.at >= 2 * SECOND, "{made:?}");
    }
}
