//! Tests that once the broker is available again, the spool is emptied in order although new events
//! keep arriving, and that later events go directly to the broker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hookbox_driver::Broker;
use hookbox_event::{Account, InstanceId};
use tokio::time::{Instant, timeout};

use crate::broker::{AWAY, Manner, WELL};
use crate::world::{World, batch};

/// How long it may take until the spool is empty under load. A spool that grows under this load
/// would never become empty.
const SOON: Duration = Duration::from_secs(60);

/// How many events in a row must go directly to the broker to show that spooling has ended.
const DIRECT: u64 = 20;

/// Events arrive one after the other, faster than the broker confirms them. The spool must become
/// empty all the same. In an earlier version, the spool grew for as long as more than 200 events a
/// second arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_empties_while_events_come_faster_than_confirms_and_keeps_their_order() {
    let world = World::new(AWAY).await;
    for number in 0..500 {
        world.publish(number..number + 1).await;
    }
    assert_eq!((world.kept(), world.broker.got("a").len()), (500, 0));
    let account = Account {
        instance: InstanceId::from_bytes([7; 16]),
        first: 1,
        last: 500,
        closing: false,
        accepted: Vec::new(),
    };
    world.spooling.publish_report(&account).await.unwrap();
    world.broker.set(WELL);
    let (began, mut next, mut direct) = (Instant::now(), 500, 0);
    while direct < DIRECT {
        let kept = world.kept();
        world.publish(next..next + 1).await;
        next += 1;
        direct = if world.kept() == kept { direct + 1 } else { 0 };
        let (elapsed, left) = (began.elapsed(), world.events());
        assert!(
            elapsed < SOON,
            "the spool must become empty in time: {left} of {next} events are left in it"
        );
    }
    let rate = (next - 500) as f64 / began.elapsed().as_secs_f64();
    eprintln!(
        "the spool was empty after {:?}, at {rate:.0} new events a second",
        began.elapsed()
    );
    assert_eq!(world.broker.got("a"), (0..next).collect::<Vec<_>>());
    assert_eq!((world.events(), world.broker.reports().len()), (0, 1));
    let largest = world.broker.largest();
    assert!(
        (32..=64).contains(&largest),
        "spooled events must be joined, 32 to 64 in the largest message: it has {largest}"
    );
    world.end().await;
}

/// Several publishers send full batches. A forwarded message holds one full batch at most, so
/// joining messages does not speed up forwarding. The spool must become empty all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_empties_under_the_largest_load_there_is() {
    let world = World::new(AWAY).await;
    for number in 0..100 {
        world.publish(number * 64..(number + 1) * 64).await;
    }
    world.broker.set(Manner {
        confirm: Duration::from_millis(20),
        ..WELL
    });
    let (is_over, next) = (AtomicBool::new(false), AtomicU64::new(100));
    let publisher = async || {
        while !is_over.load(Ordering::Relaxed) {
            let first = next.fetch_add(1, Ordering::Relaxed) * 64;
            world.publish_to("a", &batch(first..first + 64, 10)).await;
        }
    };
    let began = Instant::now();
    let until_direct = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let (mut kept, mut same) = (world.kept(), 0);
        while same < 3 {
            ticks.tick().await;
            let (before, taken) = (kept, next.load(Ordering::Relaxed));
            kept = world.kept();
            same = if kept == before && taken > 100 {
                same + 1
            } else {
                0
            };
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let all = async {
        tokio::join!(
            publisher(),
            publisher(),
            publisher(),
            publisher(),
            until_direct
        )
    };
    let emptied = timeout(SOON, all).await;
    let (left, taken) = (world.events(), next.load(Ordering::Relaxed));
    assert!(
        emptied.is_ok(),
        "the spool must become empty in time: {left} events are left in it after {taken} batches"
    );
    eprintln!(
        "the spool was empty after {:?}; {taken} batches were published",
        began.elapsed()
    );
    let mut got = world.broker.got("a");
    assert_eq!(got[..100 * 64], (0..100 * 64).collect::<Vec<_>>());
    got.sort_unstable();
    assert_eq!(got, (0..taken * 64).collect::<Vec<_>>());
    world.end().await;
}
