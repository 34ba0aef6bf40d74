//! Tests routes that apply only the newest event of each key.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{DeadReason, FailureClass};
use hookbox_event::{ContentDigest, Digester, Envelope, EventId, Newest, VersionKind};

use crate::isolation::redeliver_envelope;
use crate::script::Act;
use crate::world::{World, envelope, id, on, within};

/// Returns a world whose route applies only the newest event of each key.
pub fn with_rule() -> World {
    let mut world = World::new();
    world.newest = Some(Newest {
        key: vec!["/uid".parse().unwrap()],
        version: "/version".parse().unwrap(),
        kind: VersionKind::Integer,
    });
    world
}

fn with_body(number: u8, body: &str) -> Envelope {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Envelope {
        digest: ContentDigest::of_raw_body(&Digester::Plain, &body),
        body,
        ..envelope(number)
    }
}

/// Returns the envelope of an event with this key and version.
pub fn of(number: u8, key: &str, version: u32) -> Envelope {
    with_body(number, &format!(r#"{{"uid":"{key}","version":{version}}}"#))
}

pub fn outcomes<const N: usize>(world: &World, numbers: [u8; N]) -> [Option<&'static str>; N] {
    numbers.map(|number| world.outcome(&envelope(number)))
}

/// Returns the events whose effects are committed, in the order of the commits.
fn effects(world: &World) -> Vec<EventId> {
    world.tables.state().rows.effects.clone()
}

#[tokio::test(start_paused = true)]
async fn an_older_event_that_comes_later_is_stale() {
    let world = with_rule();
    let running = world.start();
    for event in [of(1, "a", 5), of(2, "a", 4), of(3, "b", 1), of(4, "a", 6)] {
        world.put(&[event]);
        within("every message must be acknowledged", || world.is_settled()).await;
    }
    let expect = [Some("done"), Some("stale"), Some("done"), Some("done")];
    assert_eq!(outcomes(&world, [1, 2, 3, 4]), expect);
    assert_eq!(effects(&world), [id(1), id(3), id(4)]);
    assert!(world.script.runs_of(id(2)).is_empty());
    assert_eq!(running.route().stale.load(Ordering::Relaxed), 1);
    assert_eq!(running.route().done.load(Ordering::Relaxed), 3);
    // A second receipt of the stale event 2 is a duplicate, and the stored version of key a stays.
    let again = Envelope {
        receipt: crate::world::receipt(2, 2).receipt,
        ..of(2, "a", 4)
    };
    world.put(std::slice::from_ref(&again));
    within("the second copy must have an outcome", || {
        world.outcome(&again).is_some()
    })
    .await;
    assert_eq!(world.outcome(&again), Some("duplicate"));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_an_equal_version_is_handled() {
    let world = with_rule();
    let _running = world.start();
    let later = with_body(2, r#"{"uid":"a","version":"5.0"}"#);
    for event in [of(1, "a", 5), later] {
        world.put(&[event]);
        within("every message must be acknowledged", || world.is_settled()).await;
    }
    assert_eq!(effects(&world), [id(1), id(2)]);
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_of_a_batch_runs_for_each_key() {
    for is_at_once in [false, true] {
        let mut world = with_rule();
        world.is_at_once = is_at_once;
        world.put(&[
            of(1, "a", 2),
            of(2, "a", 3),
            of(3, "b", 9),
            of(4, "a", 1),
            of(5, "a", 3),
        ]);
        let _running = world.start();
        within("every message must be acknowledged", || world.is_settled()).await;
        let (done, stale) = (Some("done"), Some("stale"));
        let expect = [stale, done, done, stale, done];
        assert_eq!(outcomes(&world, [1, 2, 3, 4, 5]), expect);
        assert_eq!(effects(&world), [id(2), id(3), id(5)]);
        assert_eq!(world.journal.only(&["commit"]), ["commit 5"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_event_supersedes_is_handled() {
    // The newest event of key a leaves the transaction, so the older ones of its key leave it, too.
    let world = with_rule();
    world.script.next(id(3), [Act::Fail, Act::Fail]);
    world.put(&[
        of(1, "a", 1),
        of(2, "a", 2),
        of(3, "a", 3),
        of(4, "b", 1),
        of(5, "c", 1),
    ]);
    let _running = world.start();
    within("all five events must have an outcome", || {
        let all = outcomes(&world, [1, 2, 3, 4, 5]);
        world.is_settled() && all.iter().all(|it| it.is_some_and(|it| it != "retrying"))
    })
    .await;
    // Event 3 also fails when it runs alone, so the others of its key are handled before its second
    // attempt.
    let done = Some("done");
    assert_eq!(outcomes(&world, [1, 2, 3, 4, 5]), [done; 5]);
    let of_key = |event: &EventId| *event != id(4) && *event != id(5);
    let of_key: Vec<EventId> = effects(&world).into_iter().filter(of_key).collect();
    assert_eq!(of_key, [id(1), id(2), id(3)]);
    let failures = world.tables.state().rows.failures.clone();
    assert_eq!(failures, [(id(3), 1, FailureClass::Transient)]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_stale_once_a_newer_event_is_done() {
    let world = with_rule();
    world
        .script
        .next(id(1), [Act::FailFor(Duration::from_secs(30))]);
    world.put(&[of(1, "a", 1)]);
    let _running = world.start();
    within("event 1 must wait for its retry", || {
        world.outcome(&envelope(1)) == Some("retrying")
    })
    .await;
    world.put(&[of(2, "a", 2)]);
    within("the retry of event 1 must be stale", || {
        world.outcome(&envelope(1)) == Some("stale")
    })
    .await;
    assert_eq!(effects(&world), [id(2)]);
    let state = world.tables.state();
    assert!(state.rows.retries.is_empty());
    assert_eq!(state.rows.dead.get(&on(id(1))), None);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_is_stale_after_a_newer_one() {
    let world = with_rule();
    let _running = world.start();
    for event in [of(1, "a", 1), of(2, "a", 2)] {
        world.put(&[event]);
        within("every message must be acknowledged", || world.is_settled()).await;
    }
    world.tables.state().rows.replay(&on(id(1)));
    within("the replayed event 1 must be stale", || {
        world.outcome(&envelope(1)) == Some("stale")
    })
    .await;
    assert_eq!(effects(&world), [id(1), id(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_event_makes_no_other_stale() {
    let world = with_rule();
    world.script.always(id(1), Act::Reject);
    world.put(&[of(1, "a", 9)]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.outcome(&envelope(1)) == Some("dead")
    })
    .await;
    world.put(&[of(2, "a", 1)]);
    within("event 2 must be done", || world.is_done(2)).await;
    assert_eq!(effects(&world), [id(2)]);
}

/// The handler does not run on a stale event, so the event cannot have ended the processes that
/// died while its message was in flight.
#[tokio::test(start_paused = true)]
async fn a_stale_event_is_not_quarantined() {
    let world = with_rule();
    world.put(&[of(2, "a", 2)]);
    let running = world.start();
    within("event 2, the newer one, must be done", || world.is_done(2)).await;
    redeliver_envelope(&world, &of(1, "a", 1), 5, 3);
    within("event 1 must have an outcome", || {
        world.outcome(&envelope(1)).is_some()
    })
    .await;
    assert_eq!(world.outcome(&envelope(1)), Some("stale"));
    assert!(world.script.runs_of(id(1)).is_empty());
    assert_eq!(running.route().suspects.load(Ordering::Relaxed), 0);
    // Event 3 is newer and so not stale. It is quarantined after the same number of process deaths.
    redeliver_envelope(&world, &of(3, "a", 3), 5, 3);
    within("event 3 must be a dead letter", || {
        world.dead(id(3)).is_some()
    })
    .await;
    assert_eq!(world.dead(id(3)).unwrap().0, DeadReason::Quarantined);
    within("no start marker must be left", || {
        world.tables.state().rows.starts.is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_without_a_version_is_a_dead_letter() {
    let world = with_rule();
    world.put(&[
        with_body(1, r#"{"uid":"a"}"#),
        with_body(2, r#"{"uid":"a","version":"secret"}"#),
        with_body(3, r#"{"version":1}"#),
        with_body(4, "version"),
        of(5, "a", 1),
    ]);
    let running = world.start();
    within("every message must be acknowledged", || world.is_settled()).await;
    for number in [1, 2, 3] {
        let (reason, detail) = world.dead(id(number)).unwrap();
        assert_eq!(
            reason,
            DeadReason::Unversioned,
            "event {number} must be unversioned"
        );
        assert!(!detail.contains("secret"), "{detail}");
    }
    assert_eq!(world.dead(id(4)).unwrap().0, DeadReason::Malformed);
    assert!(world.is_done(5));
    assert_eq!(running.route().dead.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_the_future_can_be_replayed_when_its_time_has_come() {
    let mut world = with_rule();
    if let Some(newest) = &mut world.newest {
        newest.kind = VersionKind::Rfc3339;
    }
    let body = r#"{"uid":"a","version":"1970-01-01T00:10:00Z"}"#;
    world.put(&[with_body(1, body)]);
    let _running = world.start();
    within("event 1 must be a dead letter", || {
        world.outcome(&envelope(1)) == Some("dead")
    })
    .await;
    let (reason, detail) = world.dead(id(1)).unwrap();
    assert_eq!(reason, DeadReason::Unversioned);
    assert!(detail.contains("minutes in the future"), "{detail}");
    tokio::time::advance(Duration::from_secs(10 * 60)).await;
    world.tables.state().rows.replay(&on(id(1)));
    within("event 1 must be done", || world.is_done(1)).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_the_older_event_waits_and_is_stale() {
    let world = with_rule();
    world
        .script
        .next(id(2), [Act::Take(Duration::from_secs(5))]);
    let _first = world.start();
    let _second = world.start();
    world.put(&[of(2, "a", 2)]);
    within("the handler of event 2 must run", || {
        world.script.is_running(id(2))
    })
    .await;
    world.put(&[of(1, "a", 1)]);
    within("event 1 must be stale, and event 2 done", || {
        outcomes(&world, [1, 2]) == [Some("stale"), Some("done")]
    })
    .await;
    assert_eq!(effects(&world), [id(2)]);
}

#[tokio::test(start_paused = true)]
async fn shuffled_events_end_with_the_newest_of_each_key() {
    let world = with_rule();
    let _processes = [world.start(), world.start(), world.start()];
    let mut number: u8 = 0;
    for step in 0..40_u32 {
        number += 1;
        // The versions rise and fall, and some events fail once.
        if step % 5 == 0 {
            world.script.next(id(number), [Act::Fail, Act::Fail]);
        }
        let key = ["a", "b"][step as usize % 2];
        world.put(&[of(number, key, (step * 17) % 40)]);
    }
    let settled = || {
        (1..=40).all(|number| {
            let outcome = world.outcome(&envelope(number));
            matches!(outcome, Some("done" | "stale"))
        })
    };
    within("every event must be done or stale", settled).await;
    for parity in [0, 1] {
        let version = |event: &EventId| (u32::from(event.as_bytes()[0]) - 1) * 17 % 40;
        let of_key = |event: &EventId| (event.as_bytes()[0] - 1) % 2 == parity;
        let effects: Vec<EventId> = effects(&world).into_iter().filter(of_key).collect();
        let versions: Vec<u32> = effects.iter().map(version).collect();
        assert!(versions.is_sorted(), "{versions:?}");
        let highest = (0..40).filter(|step| step % 2 == u32::from(parity));
        let highest = highest.map(|step| step * 17 % 40).max();
        assert_eq!(versions.last().copied(), highest, "{versions:?}");
    }
}
