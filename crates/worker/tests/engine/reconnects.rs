//! Tests a worker that loses its connection to the broker while its handlers run: it gets copies of
//! its own messages, and no process has died.

use std::sync::atomic::Ordering;

use hookbox_driver::{FaultKind, Start};

use crate::script::Act;
use crate::world::{World, envelope, id, route, within};

#[tokio::test(start_paused = true)]
async fn two_lost_connections_make_no_event_suspected() {
    let world = World::new();
    world
        .script
        .always(id(1), Act::Store(FaultKind::Unavailable));
    world.put_each([1]);
    let running = world.start();
    let runs = || world.script.runs_of(id(1)).len();
    within("the handler of event 1 must run", || runs() >= 1).await;

    // The second copy of the message is marked as redelivered, so its start is counted.
    world.queues.lose_connections();
    let starts = || {
        let state = world.tables.state();
        state.rows.counts(&route(), &Start::of(&envelope(1))).all
    };
    within("the start of the handler must be counted", || starts() == 1).await;
    world.queues.lose_connections();
    let in_flight = || running.route().in_flight.load(Ordering::Relaxed);
    within("the third copy must be in flight", || in_flight() == 3).await;
    let until = runs() + 6;
    within("the handler must run for all copies", || runs() >= until).await;
    let suspects = running.route().suspects.load(Ordering::Relaxed);
    assert_eq!(suspects, 0, "the worker must not suspect its own start");
    assert_eq!(starts(), 1, "a worker must count its own start once");

    world.script.always(id(1), Act::Succeed);
    within("event 1 must be done", || world.is_done(1)).await;
    within("every message must be acknowledged", || world.is_settled()).await;
    let has_markers = || !world.tables.state().rows.starts.is_empty();
    within("no start marker must be left", || !has_markers()).await;
    assert_eq!(world.effects(1), 1);
}
