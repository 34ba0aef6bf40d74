//! Tests that the broker's dead messages and the accept reports are stored.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hookbox_driver::{Batch, DeadReason, FaultKind, Queue};
use hookbox_event::{Account, Digester, EventId, InstanceId};

use crate::memory_broker::Message;
use crate::world::{World, envelope, id, within};

fn die_in(world: &World, queue: Option<&str>, bytes: Bytes) {
    let message = Message {
        bytes,
        redelivered: true,
        died_in: queue.map(str::to_owned),
        ..Message::default()
    };
    world.queues.put_message(Queue::Dead, message);
}

fn is_empty(world: &World, queue: &Queue) -> bool {
    world.queues.waiting(queue).is_empty() && world.queues.unsettled() == 0
}

fn account(last: u64) -> Account {
    Account {
        instance: InstanceId::from_bytes([1; 16]),
        first: 1,
        last,
        closing: false,
        accepted: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_gave_up_is_a_dead_letter_without_a_run() {
    let world = World::new();
    world.tables.fail("commit", [FaultKind::Unavailable; 2]);
    let bytes = Batch::of(&[envelope(1), envelope(2)]).unwrap().bytes;
    die_in(&world, Some("hookbox.test.route.scores"), bytes);
    let running = world.start();
    within("the dead messages must be collected", || {
        is_empty(&world, &Queue::Dead)
    })
    .await;
    for number in 1..=2 {
        let (reason, _) = world.dead(id(number)).unwrap();
        assert_eq!(reason, DeadReason::DeliveryLimit);
    }
    assert!(world.script.runs().is_empty());
    assert_eq!(running.counters.collected.load(Ordering::Relaxed), 2);
    assert_eq!(running.route().dead.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_drain_puts_back_is_not_collected() {
    let world = World::new();
    let running = world.started().await;
    world.tables.state().is_unavailable = true;
    let bytes = Batch::of(&[envelope(1)]).unwrap().bytes;
    die_in(&world, Some("hookbox.test.route.scores"), bytes);
    let paused = || running.route().paused.load(Ordering::Relaxed);
    within("the route must be paused", paused).await;
    let counters = running.counters.clone();
    running.drain().await;
    assert_eq!(world.queues.waiting(&Queue::Dead).len(), 1);
    assert_eq!(counters.collected.load(Ordering::Relaxed), 0);
    world.tables.state().is_unavailable = false;
    let running = world.start();
    within("the dead messages must be collected", || {
        is_empty(&world, &Queue::Dead)
    })
    .await;
    assert_eq!(running.counters.collected.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_died_in_an_unknown_queue_is_kept_as_unrouted() {
    let world = World::new();
    let bytes = Batch::of(&[envelope(1)]).unwrap().bytes;
    die_in(&world, None, bytes);
    die_in(&world, None, Bytes::from_static(b"junk"));
    let _running = world.start();
    within("the dead messages must be collected", || {
        is_empty(&world, &Queue::Dead)
    })
    .await;
    let unrouted = || "unrouted".parse().unwrap();
    let state = world.tables.state();
    let reason = |event| state.rows.dead.get(&(unrouted(), event)).map(|dead| dead.0);
    assert_eq!(reason(id(1)), Some(DeadReason::DeliveryLimit));
    let junk = EventId::of_undecodable(&Digester::Plain, b"junk");
    assert_eq!(reason(junk), Some(DeadReason::Undecodable));
}

#[tokio::test(start_paused = true)]
async fn an_accept_report_is_written_and_an_unreadable_one_is_passed_over() {
    let world = World::new();
    let junk = Bytes::from_static(b"junk");
    world.queues.put(Queue::Accounts, junk, false);
    world
        .queues
        .put(Queue::Accounts, account(7).encode(), false);
    let running = world.start();
    within("both accept reports must be settled", || {
        is_empty(&world, &Queue::Accounts)
    })
    .await;
    assert_eq!(world.tables.state().rows.accounts, [account(7)]);
    assert_eq!(running.counters.accounts.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_accept_report_outlives_a_fault_of_the_store() {
    let world = World::new();
    world.tables.fail("account", [FaultKind::Unavailable; 3]);
    world
        .queues
        .put(Queue::Accounts, account(7).encode(), false);
    let _running = world.start();
    within("the accept report must be stored", || {
        is_empty(&world, &Queue::Accounts)
    })
    .await;
    assert_eq!(world.tables.state().rows.accounts, [account(7)]);
}
