//! Tests which requests are published while queues are held back.
#![allow(clippy::unwrap_used)]

use super::*;

const A: &str = "hookbox.test.route.a";
const B: &str = "hookbox.test.route.b";

fn names(queues: &[&str]) -> Vec<String> {
    queues.iter().map(|queue| (*queue).to_owned()).collect()
}

/// Returns the state after a publish round in which A was late and B was confirmed.
fn a_is_late(now: Instant) -> Arc<LateQueues> {
    let late_queues = Arc::new(LateQueues::default());
    late_queues.record(&names(&[B]), &names(&[A]), now);
    late_queues
}

fn probe(late_queues: &Arc<LateQueues>, queues: &[&str], now: Instant) -> Option<Probe> {
    match late_queues.admit(&names(queues), now) {
        Admission::Probe(probe) => Some(probe),
        Admission::Free | Admission::Held(..) => None,
    }
}

fn is_free(late_queues: &Arc<LateQueues>, queues: &[&str], now: Instant) -> bool {
    matches!(late_queues.admit(&names(queues), now), Admission::Free)
}

fn is_held_until(
    late_queues: &Arc<LateQueues>,
    queues: &[&str],
    now: Instant,
    at: Instant,
) -> bool {
    match late_queues.admit(&names(queues), now) {
        Admission::Held(queue, until) => queue == A && until == at,
        Admission::Free | Admission::Probe(_) => false,
    }
}

#[test]
fn one_probe_at_a_time_is_published_to_a_late_queue_and_others_are_not_held() {
    let now = Instant::now();
    let late_queues = a_is_late(now);
    assert!(is_free(&late_queues, &[B], now));
    assert!(late_queues.is_any_held(&names(&[B, A])));
    assert!(!late_queues.is_any_held(&names(&[B])));
    let first = probe(&late_queues, &[A], now).expect("the first request must be the probe");
    let later = now + Duration::from_secs(1);
    assert!(is_held_until(&late_queues, &[A], later, now + PROBE_WAIT));
    assert!(is_held_until(
        &late_queues,
        &[B, A],
        later,
        now + PROBE_WAIT
    ));
    assert!(is_free(&late_queues, &[B], later));
    // The probe was late too.
    drop(first);
    let second = probe(&late_queues, &[B, A], later);
    assert!(
        second.is_some(),
        "a request for both queues must be the next probe"
    );
    late_queues.record(&names(&[A]), &[], later);
    assert!(
        is_free(&late_queues, &[A], later),
        "a queue that has answered must not be held back"
    );
}

#[test]
fn the_end_of_an_old_probe_does_not_end_a_newer_one() {
    let now = Instant::now();
    let late_queues = a_is_late(now);
    let old = probe(&late_queues, &[A], now);
    late_queues.record(&names(&[A]), &[], now);
    late_queues.record(&[], &names(&[A]), now);
    let later = now + Duration::from_secs(1);
    let newer = probe(&late_queues, &[A], later);
    assert!(old.is_some() && newer.is_some());
    drop(old);
    assert!(is_held_until(&late_queues, &[A], later, later + PROBE_WAIT));
    drop(newer);
    assert!(probe(&late_queues, &[A], later).is_some());
}

#[test]
fn a_queue_that_answered_one_message_and_was_late_with_another_is_held_back() {
    let late_queues = Arc::new(LateQueues::default());
    let began = Instant::now();
    assert!(!late_queues.has_answered_since(began));
    late_queues.record(&names(&[A]), &names(&[A]), began);
    assert!(late_queues.is_any_held(&names(&[A])));
    assert!(late_queues.has_answered_since(began));
    assert!(!late_queues.has_answered_since(began + Duration::from_secs(1)));
}

#[tokio::test]
async fn a_request_waits_for_a_probe_that_has_just_begun_and_fails_behind_a_longer_one() {
    let now = Instant::now();
    let late_queues = a_is_late(now);
    let to_a = names(&[A]);
    let first = late_queues.enter(&to_a).await.unwrap();
    assert!(first.is_some());
    // `join!` polls its first future first, so the second request waits when A answers.
    let (second, ()) = tokio::join!(late_queues.enter(&to_a), async {
        late_queues.record(&names(&[A]), &[], Instant::now());
    });
    assert!(
        second.unwrap().is_none(),
        "the second request must be published like any other"
    );
    late_queues.record(&[], &to_a, Instant::now());
    let _third = late_queues.enter(&to_a).await.unwrap().unwrap();
    let fourth = late_queues.enter(&to_a).await;
    assert_eq!(fourth.err().unwrap().kind, PublishErrorKind::TimedOut);
}
