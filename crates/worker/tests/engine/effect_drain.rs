//! Tests the end of a worker with calls in flight.

use std::time::Duration;

use hookbox_driver::{FaultKind, Queue};
use tokio::time::{Instant, sleep};

use crate::call_script::End;
use crate::effects::{assert_one_key, failures, with_effect};
use crate::world::{World, envelope, id, on, route, within};

const SECOND: Duration = Duration::from_secs(1);

fn waiting(world: &World) -> usize {
    world.queues.waiting(&Queue::Route(route())).len()
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_calls_and_records_their_ends() {
    let world = with_effect(1);
    world.calls.next(id(1), [End::Take(5 * SECOND)]);
    world.tables.fail("end_calls", [FaultKind::Unavailable; 3]);
    world.put_each(1..=3);
    let running = world.start();
    within("the call must be in flight", || {
        world.calls.in_flight() == 1
    })
    .await;
    running.drain().await;
    assert!(world.is_done(1));
    assert_eq!(world.calls.made().len(), 1);
    assert_eq!((waiting(&world), world.queues.unsettled()), (2, 0));
    let _running = world.start();
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    assert_eq!(world.calls.made().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_a_permit_is_released_at_a_drain() {
    let world = with_effect(1);
    world.calls.next(id(1), [End::Take(5 * SECOND)]);
    world.put(&[1, 2].map(envelope));
    let running = world.start();
    within("the call must be in flight", || {
        world.calls.in_flight() == 1
    })
    .await;
    running.drain().await;
    assert!(world.is_done(1) && !world.is_done(2));
    assert_eq!(world.journal.only(&["ack", "release"]), ["release"]);
    assert_eq!((waiting(&world), world.queues.unsettled()), (1, 0));
    let _running = world.start();
    within("events 1 and 2 must be done", || world.are_done(1..=2)).await;
    assert_eq!(world.calls.made_for(id(1)).len(), 1);
}

/// Drains a worker with a call in flight that never ends.
async fn cut_a_call(world: &World) {
    let running = world.start();
    within("the call must be in flight", || {
        world.calls.in_flight() == 1
    })
    .await;
    let (cut, began) = (running.worker.cut(), Instant::now());
    let grace = async {
        sleep(3 * SECOND).await;
        cut.cancel();
    };
    tokio::join!(running.drain(), grace);
    assert!(began.elapsed() < 4 * SECOND);
    assert_eq!(world.calls.in_flight(), 0);
    assert!(world.tables.state().rows.retries.contains_key(&on(id(1))));
}

#[tokio::test(start_paused = true)]
async fn a_cut_defers_the_calls_that_it_drops() {
    let world = with_effect(4);
    world.calls.next(id(1), [End::Hang]);
    world.put_each([1]);
    cut_a_call(&world).await;
    let began = Instant::now();
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    // The next worker makes the call before the lease of the first call would end.
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    assert_eq!(world.calls.epochs(id(1)), [1, 2]);
    assert_one_key(&world, 1);
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn no_number_of_drains_makes_a_dead_letter() {
    const DRAINS: u32 = 9;
    let world = with_effect(4);
    world.calls.next(id(1), [End::Hang; DRAINS as usize]);
    world.put_each([1]);
    for _ in 0..DRAINS {
        cut_a_call(&world).await;
        sleep(2 * 60 * 60 * SECOND).await;
    }
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    let epochs: Vec<u32> = (1..=DRAINS + 1).collect();
    assert_eq!(world.calls.epochs(id(1)), epochs);
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_a_drain_in_an_outage() {
    let world = with_effect(4);
    world.put_each([1]);
    world
        .tables
        .fail("end_calls", [FaultKind::Unavailable; 999]);
    let running = world.start();
    within("the worker must try to record the end of the call", || {
        world.tables.calls("end_calls") >= 1
    })
    .await;
    let cut = running.worker.cut();
    let grace = async {
        sleep(3 * SECOND).await;
        cut.cancel();
    };
    tokio::join!(running.drain(), grace);
    assert!(!world.is_done(1));
    world.tables.fail("end_calls", []);
    let _running = world.start();
    within("event 1 must be done", || world.is_done(1)).await;
    assert_eq!(world.calls.epochs(id(1)), [1, 2]);
}
