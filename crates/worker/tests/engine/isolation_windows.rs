//! Tests a suspected event in a process with a lot of other work: it gets its outcome, and other
//! work stops only as long as necessary.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Batch, Queue};
use tokio::time::{Instant, sleep};

use crate::isolation::redeliver;
use crate::script::Act;
use crate::world::{World, envelope, id, neighbour, within};

/// Publishes an event to the other route, and waits until a worker has taken it.
async fn put_to_neighbour(world: &World, number: u8) {
    let queue = Queue::Route(neighbour());
    let bytes = Batch::of(&[envelope(number)]).unwrap().bytes;
    world.queues.put(queue.clone(), bytes, false);
    within("the event of the other route must be taken", || {
        world.queues.waiting(&queue).is_empty()
    })
    .await;
}

/// The handlers of the other route take 20 s each, and never end at the same time.
#[tokio::test(start_paused = true)]
async fn a_suspect_is_done_although_slow_handlers_follow_one_another() {
    let mut world = World::new();
    world.has_neighbour = true;
    for number in 10..=u8::MAX {
        let take = Act::Take(Duration::from_secs(20));
        world.script.next(id(number), [take]);
    }
    let running = world.started().await;
    let slow = &running.counters.routes[&neighbour()].running;
    let load = async {
        for number in 10..=u8::MAX {
            put_to_neighbour(&world, number).await;
            sleep(Duration::from_secs(1)).await;
        }
    };
    let suspected = async {
        within("four slow handlers must run", || slow.count() == 4).await;
        let began = Instant::now();
        redeliver(&world, 9, 1, 0);
        within("event 9 must be done", || {
            // Its route waits for the handlers of the other route, and not for the store.
            assert!(!running.route().stalled.load(Ordering::Relaxed));
            world.is_done(9)
        })
        .await;
        began.elapsed()
    };
    let took = tokio::select! {
        () = load => panic!("event 9 must be done while slow handlers run"),
        took = suspected => took,
    };
    assert!(took < Duration::from_secs(120), "{took:?}");
    assert!(world.script.was_isolated(id(9)));
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_has_its_outcome_stops_no_other_event() {
    let world = World::new();
    world.put_each([1]);
    let _running = world.started().await;
    within("every message must be acknowledged", || world.is_settled()).await;
    let take = Act::Take(Duration::from_secs(9));
    world.script.next(id(2), [take]);
    world.put_each([2]);
    within("the handler of event 2 must run", || {
        world.script.is_running(id(2))
    })
    .await;
    redeliver(&world, 1, 2, 1);
    let acked = || world.queues.state().acked;
    within("the second copy must be acknowledged", || acked() == 2).await;
    world.put_each([3]);
    within("event 3 must be done", || world.is_done(3)).await;
    assert!(
        world.script.is_running(id(2)),
        "no event must wait until the handler of event 2 has ended"
    );
    assert_eq!(world.script.runs_of(id(1)).len(), 1);
}
