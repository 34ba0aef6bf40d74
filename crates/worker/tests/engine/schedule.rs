//! Tests that due retries are published to their queue, and stay due until the broker has confirmed
//! them.

use std::sync::atomic::Ordering;

use hookbox_driver::{FaultKind, PublishErrorKind};
use tokio::time::Instant;

use crate::script::Act;
use crate::world::{World, id, on, within};

fn waits(world: &World, number: u8) -> bool {
    let state = world.tables.state();
    state.rows.retries.contains_key(&on(id(number)))
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_not_confirmed_stays_due() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.queues.state().refuses = Some(PublishErrorKind::Rejected);
    world.put_each([1]);
    let running = world.start();
    within("event 1 must wait for its retry", || waits(&world, 1)).await;
    let since = Instant::now();
    within("the scheduler must run for half a minute", || {
        since.elapsed().as_secs() >= 30
    })
    .await;
    assert_eq!(world.script.runs().len(), 1);
    world.queues.state().refuses = None;
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.queues.state().published, 1);
    assert_eq!(running.counters.requeued.load(Ordering::Relaxed), 1);
    assert_eq!(world.script.runs_of(id(1))[1].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_store_delays_retries_and_loses_none() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.tables.fail("requeue", [FaultKind::Unavailable; 5]);
    world.put_each([1]);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.effects(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_outlives_the_process_that_recorded_it() {
    let world = World::new();
    world.script.next(id(1), [Act::Fail]);
    world.put_each([1]);
    let running = world.start();
    within("event 1 must wait for its retry", || waits(&world, 1)).await;
    running.drain().await;
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.script.runs_of(id(1))[1].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn retries_that_are_due_together_share_a_message() {
    let world = World::new();
    // No retry is published until all events wait for one.
    world
        .tables
        .fail("requeue", [FaultKind::Unavailable; 1_000]);
    let running = world.start();
    for number in 1..=10 {
        world.script.next(id(number), [Act::Fail]);
        world.put_each([number]);
        within("the event must wait for its retry", || {
            waits(&world, number)
        })
        .await;
    }
    world.tables.fail("requeue", []);
    within("all events must be done", || {
        (1..=10).all(|number| world.is_done(number))
    })
    .await;
    assert_eq!(world.queues.state().published, 1);
    assert_eq!(running.counters.requeued.load(Ordering::Relaxed), 10);
}
