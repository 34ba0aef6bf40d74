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
    late_queues.record(&names(&[B]), &names(&[A]), Some(now));
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
    late_queues.record(&names(&[A]), &[], Some(later));
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
    late_queues.record(&names(&[A]), &[], Some(now));
    late_queues.record(&[], &names(&[A]), None);
    let later = now + Duration::from_secs(1);
    let newer = probe(&late_queues, &[A], later);
    assert!(old.is_some() && newer.is_some());
    drop(old);
    assert!(is_held_until(&late_queues, &[A], later, later + PROBE_WAIT));
    drop(newer);
    assert!(probe(&late_queues, &[A], later).is_some());
}

/// While A answers nothing, a probe of A and B is late, so that B alone must not wait for it.
#[test]
fn a_request_for_fewer_queues_is_published_beside_a_probe_of_more() {
    let now = Instant::now();
    let late_queues = Arc::new(LateQueues::default());
    late_queues.record(&[], &names(&[A, B]), None);
    let of_both = probe(&late_queues, &[A, B], now);
    assert!(of_both.is_some());
    assert!(is_held_until(&late_queues, &[A, B], now, now + PROBE_WAIT));
    // Both probes begin at the same time, so only their numbers of queues differ.
    let of_b = probe(&late_queues, &[B], now);
    assert!(
        of_b.is_some(),
        "a request for B alone must not wait for the probe of both queues"
    );
    assert!(
        probe(&late_queues, &[B], now).is_none(),
        "a second request for B alone must wait for the first"
    );
    drop(of_both);
    assert!(
        probe(&late_queues, &[B], now).is_none(),
        "the end of the probe of both queues must not end the probe of B"
    );
    drop(of_b);
    let of_b = probe(&late_queues, &[B], now);
    assert!(of_b.is_some(), "the end of the probe of B must end it");
    late_queues.record(&names(&[B]), &[], Some(now));
    assert!(is_free(&late_queues, &[B], now));
    // B is not held back now, but the request is still one for two queues.
    let of_both = probe(&late_queues, &[A, B], now);
    assert!(of_both.is_some());
    assert!(probe(&late_queues, &[A], now).is_some());
}

#[test]
fn the_wait_for_a_late_probe_grows_until_the_queue_answers() {
    let late_queues = a_is_late(Instant::now());
    let late_probe = |queues: &[&str]| {
        let probe = probe(&late_queues, queues, Instant::now()).unwrap();
        probe.record_late().as_millis()
    };
    let waits: Vec<u128> = (0..5).map(|_| late_probe(&[A])).collect();
    assert_eq!(waits, [0, 2500, 5000, 10_000, 10_000]);
    late_queues.record(&[], &names(&[B]), None);
    assert_eq!(late_probe(&[B]), 0, "each queue must have its own wait");
    assert_eq!(
        late_probe(&[A, B]),
        10_000,
        "a probe of two queues must have the longer wait of both"
    );
    late_queues.record(&names(&[A]), &[], Some(Instant::now()));
    late_queues.record(&[], &names(&[A]), None);
    assert_eq!(late_probe(&[A]), 0, "an answer must reset the wait");
    assert_eq!(late_probe(&[A]), 2500);
    late_queues.record(&names(&[A]), &names(&[A]), Some(Instant::now()));
    assert_eq!(
        late_probe(&[A]),
        0,
        "an answer beside a late confirm must reset the wait"
    );
}

#[test]
fn a_late_probe_whose_queue_another_probe_has_waits_for_nothing() {
    let now = Instant::now();
    let late_queues = a_is_late(now);
    let of_both = probe(&late_queues, &[A, B], now).unwrap();
    let of_a = probe(&late_queues, &[A], now).unwrap();
    assert_eq!(of_a.record_late(), CLOSE_WAITS[0]);
    assert_eq!(of_both.record_late(), Duration::ZERO);
    drop((of_both, of_a));
    let next = probe(&late_queues, &[A], now).unwrap();
    assert_eq!(
        next.record_late(),
        CLOSE_WAITS[1],
        "only one of the two late probes must count"
    );
}

#[test]
fn an_answer_counts_from_its_arrival_and_not_from_the_end_of_the_publish_round() {
    let began = Instant::now();
    let earlier = began + Duration::from_secs(1);
    let later = began + Duration::from_secs(2);
    let late_queues = a_is_late(earlier);
    assert!(late_queues.has_answered_since(earlier));
    assert!(!late_queues.has_answered_since(later));
    late_queues.record(&names(&[B]), &[], Some(later));
    // The rounds of two publishers may end in another order than their last answers arrived.
    late_queues.record(&names(&[B]), &[], Some(earlier));
    late_queues.record(&[], &names(&[A]), None);
    assert!(late_queues.has_answered_since(later));
}

#[test]
fn a_queue_that_answered_one_message_and_was_late_with_another_is_held_back() {
    let late_queues = Arc::new(LateQueues::default());
    let began = Instant::now();
    assert!(!late_queues.has_answered_since(began));
    late_queues.record(&names(&[A]), &names(&[A]), Some(began));
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
        late_queues.record(&names(&[A]), &[], Some(Instant::now()));
    });
    assert!(
        second.unwrap().is_none(),
        "the second request must be published like any other"
    );
    late_queues.record(&[], &to_a, None);
    let _third = late_queues.enter(&to_a).await.unwrap().unwrap();
    let fourth = late_queues.enter(&to_a).await;
    assert_eq!(fourth.err().unwrap().kind, PublishErrorKind::TimedOut);
}
