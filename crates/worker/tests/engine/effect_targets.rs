//! Tests the limits of a target and its circuit breaker, with one worker and with several.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Batch, BreakerState, DeferReason, Queue, Rate};
use hookbox_event::{Envelope, EventId, ReceiptId};

use crate::call_script::End;
use crate::effects::{assert_one_key, failures, with_effect};
use crate::world::{World, envelope, id, neighbour, on, route, target, within};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the first receipt of one of many events.
fn one_of_many(number: u16) -> Envelope {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Envelope {
        event: EventId::from_bytes(bytes),
        receipt: ReceiptId::from_bytes(bytes),
        ..envelope(1)
    }
}

fn are_done(world: &World, events: &[Envelope]) -> bool {
    events.iter().all(|it| world.outcome(it) == Some("done"))
}

/// Returns the greatest number of calls that were in flight at once.
fn most_in_flight(world: &World) -> usize {
    let made = world.calls.made();
    made.iter().map(|it| it.in_flight).max().unwrap_or(0)
}

fn breaker(world: &World) -> BreakerState {
    world.tables.state().rows.leases.breaker(&target())
}

fn waiting(world: &World) -> usize {
    world.queues.waiting(&Queue::Route(route())).len()
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_calls_are_in_flight_with_four_transactions() {
    let world = with_effect(256);
    world.calls.always(End::Take(5 * SECOND));
    let events: Vec<Envelope> = (0..256).map(one_of_many).collect();
    for message in events.chunks(64) {
        world.put(message);
    }
    let running = world.start();
    within("all 256 calls must be in flight", || {
        world.calls.in_flight() == 256
    })
    .await;
    assert!(
        world.is_settled(),
        "all messages must be acknowledged while the calls are in flight"
    );
    within("all events must be done", || are_done(&world, &events)).await;
    assert_eq!(world.calls.made().len(), 256);
    assert_eq!(running.route().done.load(Ordering::Relaxed), 256);
    // The ends of many calls share a transaction.
    assert!(world.tables.calls("end_calls") < 32);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_more_events_than_permits_waits_for_permits() {
    // With a single permit, the consumer must not keep it while it waits for another message.
    for permits in [1, 2] {
        let world = with_effect(permits);
        world.calls.always(End::Take(SECOND));
        world.put(&[1, 2, 3, 4, 5].map(envelope));
        let running = world.start();
        within("events 1 to 4 must be done", || world.are_done(1..=4)).await;
        within("events 1 to 5 must be done", || world.are_done(1..=5)).await;
        within("every message must be acknowledged", || world.is_settled()).await;
        assert_eq!(most_in_flight(&world), permits as usize);
        assert_eq!(world.calls.made().len(), 5);
        assert_eq!(world.journal.only(&["ack", "release"]), ["ack"]);
        assert!(!running.route().stalled.load(Ordering::Relaxed));
    }
}

#[tokio::test(start_paused = true)]
async fn several_workers_share_the_limits_of_a_target() {
    let world = with_effect(3);
    world.calls.always(End::Take(2 * SECOND));
    let events: Vec<Envelope> = (0..40).map(one_of_many).collect();
    let _running = [world.start(), world.start(), world.start()];
    for message in events.chunks(4) {
        world.put(message);
    }
    within("all events must be done", || are_done(&world, &events)).await;
    assert_eq!(most_in_flight(&world), 3);
    assert_eq!(world.calls.made().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_route_with_many_events_leaves_its_target_to_another_route() {
    let mut world = with_effect(2);
    world.has_calling_neighbour = true;
    world.calls.always(End::Take(SECOND));
    let events: Vec<Envelope> = (0..200).map(one_of_many).collect();
    for message in events.chunks(20) {
        world.put(message);
    }
    let _running = world.start();
    within("four calls must be made", || world.calls.made().len() >= 4).await;
    let other = one_of_many(1000);
    let bytes = Batch::of(std::slice::from_ref(&other)).unwrap().bytes;
    world.queues.put(Queue::Route(neighbour()), bytes, false);
    let before = world.calls.made().len();
    let is_called = || !world.calls.made_for(other.event).is_empty();
    within("the other route must make its call", is_called).await;
    let meanwhile = world.calls.made().len() - before;
    assert!(
        meanwhile <= 20,
        "the other route must not wait for {meanwhile} calls of the first one"
    );
    within("all events must be done", || are_done(&world, &events)).await;
    assert_eq!(most_in_flight(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_in_memory() {
    let mut world = with_effect(100);
    if let Some(limits) = &mut world.limits {
        limits.rate = Some(Rate {
            calls: NonZeroU32::new(10).unwrap(),
            per: SECOND,
        });
    }
    let events: Vec<Envelope> = (0..40).map(one_of_many).collect();
    world.put(&events);
    let running = world.start();
    within("all events must be done", || are_done(&world, &events)).await;
    let made = world.calls.made();
    let lasted = made[made.len() - 1].at - made[0].at;
    assert!(lasted >= 2 * SECOND, "{lasted:?}");
    assert_eq!(made.len(), 40);
    assert_eq!(running.route().deferred.load(Ordering::Relaxed), 0);
}

/// A limit that the config sets is not a fault of the target.
#[tokio::test(start_paused = true)]
async fn at_a_low_rate_events_wait_in_the_store_and_the_target_is_not_down() {
    let mut world = with_effect(100);
    if let Some(limits) = &mut world.limits {
        limits.rate = Some(Rate {
            calls: NonZeroU32::MIN,
            per: 60 * SECOND,
        });
    }
    world.put_each(1..=3);
    let running = world.start();
    let is_down = || running.route().target_down.load(Ordering::Relaxed);
    for number in 1..=3 {
        within("another call must be made", || {
            assert!(!is_down());
            world.calls.made().len() == number
        })
        .await;
    }
    within("events 1 to 3 must be done", || world.are_done(1..=3)).await;
    let made = world.calls.made();
    for (one, next) in made.iter().zip(made.iter().skip(1)) {
        assert!(next.at - one.at >= 60 * SECOND, "{made:?}");
    }
    assert!(running.route().deferred.load(Ordering::Relaxed) >= 1);
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn events_wait_in_the_store_for_a_long_pause() {
    let world = with_effect(1);
    world.calls.next(id(1), [End::Busy(Some(50 * SECOND))]);
    world.put_each([1]);
    let running = world.start();
    let deferred = || running.route().deferred.load(Ordering::Relaxed);
    within("event 1 must be deferred", || deferred() == 1).await;
    world.put_each([2]);
    within("events 1 and 2 must be done", || world.are_done(1..=2)).await;
    let made = world.calls.made();
    for later in &made[1..] {
        assert!(later.at - made[0].at >= 50 * SECOND, "{later:?}");
    }
    assert_eq!(failures(&world), []);
}

#[tokio::test(start_paused = true)]
async fn while_the_breaker_is_open_messages_stay_in_the_queue_and_neighbours_continue() {
    let mut world = with_effect(8);
    world.has_neighbour = true;
    world.calls.always(End::Fault);
    world.put(&[1, 2, 3, 4, 5].map(envelope));
    let running = world.start();
    within("the breaker must open", || {
        breaker(&world) == BreakerState::Open
    })
    .await;
    let first = world.calls.made().len();
    assert_eq!(first, 5);
    world.put_each(6..=9);
    let other = Batch::of(&[envelope(20)]).unwrap().bytes;
    world.queues.put(Queue::Route(neighbour()), other, false);
    let of_neighbour = (neighbour(), envelope(20).receipt);
    let outcome = || {
        let state = world.tables.state();
        state.rows.receipts.get(&of_neighbour).copied()
    };
    within("the event of the other route must be done", || {
        outcome() == Some("done")
    })
    .await;
    assert!(waiting(&world) >= 4, "four messages must stay queued");
    let probes = || world.calls.made().len() - first;
    within("the target must be probed four times", || probes() >= 4).await;
    let made = world.calls.made();
    assert!(made[first..].iter().all(|it| it.in_flight == 1), "{made:?}");
    world.calls.always(End::Succeed);
    within("events 1 to 9 must be done", || world.are_done(1..=9)).await;
    within("every message must be acknowledged", || world.is_settled()).await;
    assert_eq!(breaker(&world), BreakerState::Closed);
    assert_eq!(failures(&world), []);
    for number in 1..=9 {
        assert_one_key(&world, number);
    }
    assert!(!running.route().stalled.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_shared_by_workers() {
    let world = with_effect(8);
    world.calls.always(End::Fault);
    world.put(&[1, 2, 3, 4, 5].map(envelope));
    let _first = world.start();
    within("the breaker must open", || {
        breaker(&world) == BreakerState::Open
    })
    .await;
    let before = world.calls.made().len();
    let asked = || world.tables.calls("blocked");
    let asked_before = asked();
    let second = world.start();
    world.put_each([6]);
    within(
        "the second worker must ask the store for the state of the breaker",
        || asked() > asked_before,
    )
    .await;
    assert_eq!(world.calls.made().len(), before);
    world.calls.always(End::Succeed);
    within("events 1 to 6 must be done", || world.are_done(1..=6)).await;
    assert_eq!(failures(&world), []);
    drop(second);
}

/// The first five events open the breaker while a message with further events waits for a permit.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_message_is_deferred_when_the_breaker_opens() {
    let world = with_effect(5);
    world.calls.always(End::Fault);
    world.put(&[1, 2, 3, 4, 5, 6, 7].map(envelope));
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    let reason = |number| {
        let state = world.tables.state();
        let retry = state.rows.retries.get(&on(id(number)))?;
        retry.deferred.map(|deferred| deferred.0)
    };
    within("events 6 and 7 must be deferred", || {
        (6..=7).all(|number| reason(number) == Some(DeferReason::TargetClosed))
    })
    .await;
    assert!(running.route().deferred.load(Ordering::Relaxed) >= 7);
    world.calls.always(End::Succeed);
    within("events 1 to 7 must be done", || world.are_done(1..=7)).await;
    assert_eq!(failures(&world), []);
}

/// When a probe fails, the broker counts a delivery of each message that it had delivered and that
/// the worker had not taken.
#[tokio::test(start_paused = true)]
async fn a_target_is_probed_with_a_single_message_in_flight() {
    let world = with_effect(8);
    world.calls.always(End::Fault);
    world.put_each(1..=30);
    let _running = world.start();
    within("the breaker must open", || {
        breaker(&world) == BreakerState::Open
    })
    .await;
    let made = world.calls.made().len();
    within("the target must be probed 20 times", || {
        world.calls.made().len() >= made + 20
    })
    .await;
    let prefetch = || world.queues.state().prefetch[&Queue::Route(route())];
    assert_eq!(prefetch(), 1);
    assert!(world.queues.unsettled() <= 1);
    world.calls.always(End::Succeed);
    within("events 1 to 30 must be done", || world.are_done(1..=30)).await;
    assert_eq!(prefetch(), 16);
    assert_eq!(failures(&world), []);
}
