//! Tests when a route counts as standing still.

use std::sync::atomic::Ordering;

use crate::script::Act;
use crate::world::{TIME_LIMIT, World, envelope, id, within};

#[tokio::test(start_paused = true)]
async fn a_batch_may_take_the_time_limit_of_each_of_its_events() {
    for is_at_once in [false, true] {
        let mut world = World::new();
        world.is_at_once = is_at_once;
        for number in 1..=3 {
            world
                .script
                .next(id(number), [Act::Take(TIME_LIMIT * 9 / 10)]);
        }
        world.put(&[1, 2, 3].map(envelope));
        let running = world.start();
        let is_stalled = || running.route().stalled.load(Ordering::Relaxed);
        let are_done = || world.are_done(1..=3);
        within(
            "the events must be done, or the route must be at a standstill",
            || is_stalled() || are_done(),
        )
        .await;
        assert!(
            !is_stalled(),
            "the route must not be at a standstill (handle_all: {is_at_once})"
        );
        assert_eq!(
            world.script.runs().len(),
            3,
            "each event must run once (handle_all: {is_at_once})"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_is_a_standstill_until_it_ends() {
    let world = World::new();
    let running = world.started().await;
    world.tables.state().is_unavailable = true;
    world.put_each([1]);
    let is_stalled = || running.route().stalled.load(Ordering::Relaxed);
    within("the route must be at a standstill", is_stalled).await;
    world.tables.state().is_unavailable = false;
    within("event 1 must be done", || world.is_done(1)).await;
    within("the standstill of the route must end", || !is_stalled()).await;
}
