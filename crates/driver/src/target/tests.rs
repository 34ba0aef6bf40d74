//! Tests how many calls a target permits, and when its breaker opens and closes.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The random number with which the jitter is zero.
const EVEN: f64 = 0.5;

fn at(seconds: f64) -> Timestamp {
    let base = Timestamp::from_unix_micros(1_764_000_000_000_000);
    base.saturating_add(Duration::from_secs_f64(seconds))
}

fn limits(concurrency: u32, rate: Option<(u32, u64)>) -> TargetLimits {
    let some = |number| NonZeroU32::new(number).expect("the limit must not be zero");
    TargetLimits {
        concurrency: some(concurrency),
        rate: rate.map(|(calls, seconds)| Rate {
            calls: some(calls),
            per: Duration::from_secs(seconds),
        }),
    }
}

fn fault(event: i64) -> (EventNumber, TargetAnswer) {
    (EventNumber::from_i64(event), TargetAnswer::Fault)
}

/// Returns a target whose breaker was opened at second 0.
fn opened() -> TargetState {
    let mut target = TargetState::default();
    let faults: Vec<_> = (1..=i64::from(FAULTS_TO_OPEN)).map(fault).collect();
    target.note(at(0.0), &faults, EVEN);
    target
}

#[test]
fn as_many_calls_as_allowed_are_in_flight() {
    let mut target = TargetState::default();
    for (in_flight, wanted, permitted) in [(0, 3, 3), (0, 9, 4), (3, 9, 1), (4, 1, 0), (9, 1, 0)] {
        let got = target.permit(at(0.0), limits(4, None), in_flight, wanted);
        assert_eq!(got, (permitted, NoPermit::Busy), "{in_flight} in flight");
    }
}

#[test]
fn a_rate_is_kept_and_says_when_the_next_call_may_be_made() {
    let mut target = TargetState::default();
    let limits = limits(100, Some((10, 1)));
    let mut permit = |seconds, wanted| target.permit(at(seconds), limits, 0, wanted);
    assert_eq!(permit(0.0, 4).0, 4);
    assert_eq!(permit(0.0, 9), (6, NoPermit::Rate(SECOND / 10)));
    assert_eq!(permit(0.05, 1), (0, NoPermit::Rate(SECOND / 20)));
    assert_eq!(permit(0.35, 9).0, 3);
    assert_eq!(permit(60.0, 99), (10, NoPermit::Rate(SECOND / 10)));
}

#[test]
fn a_higher_rate_takes_effect_at_once() {
    let mut target = TargetState::default();
    let (low, high) = (limits(999, Some((100, 3600))), limits(999, Some((100, 1))));
    assert_eq!(target.permit(at(0.0), low, 0, 100).0, 100);
    let wait = NoPermit::Rate(SECOND / 100);
    assert_eq!(target.permit(at(0.0), low, 0, 1).0, 0);
    assert_eq!(target.permit(at(0.0), high, 0, 9), (1, wait));
    assert_eq!(target.permit(at(0.0), high, 0, 9), (0, wait));
    assert_eq!(target.permit(at(1.0), high, 0, 999).0, 100);
}

#[test]
fn the_breaker_opens_for_faults_of_several_events_in_a_row() {
    let mut target = TargetState::default();
    let faults = [1, 2, 3, 4].map(fault);
    target.note(at(0.0), &faults, EVEN);
    assert_eq!(target.breaker(at(0.0)), BreakerState::Closed);
    // Further faults of the same event do not open the breaker.
    target.note(at(0.0), &[fault(4), fault(4), fault(4)], EVEN);
    assert_eq!(target.breaker(at(0.0)), BreakerState::Closed);
    target.note(at(0.0), &[fault(5)], EVEN);
    assert_eq!(target.breaker(at(0.0)), BreakerState::Open);
    let blocked = target.blocked(at(1.0));
    assert_eq!(blocked, Some(NoPermit::Open(OPEN_FIRST - SECOND)));
    let permitted = target.permit(at(1.0), limits(9, None), 0, 3);
    assert_eq!(permitted, (0, NoPermit::Open(OPEN_FIRST - SECOND)));
}

#[test]
fn an_answer_between_faults_keeps_the_breaker_closed() {
    let mut target = TargetState::default();
    for event in 1..99 {
        let answered = (EventNumber::from_i64(event), TargetAnswer::Answered);
        target.note(at(0.0), &[fault(event), fault(event + 1), answered], EVEN);
        assert_eq!(target.breaker(at(0.0)), BreakerState::Closed);
    }
}

#[test]
fn an_open_breaker_is_probed_by_one_call_at_a_time() {
    let mut target = opened();
    assert_eq!(target.breaker(at(5.0)), BreakerState::HalfOpen);
    let mut permit = |in_flight| target.permit(at(5.0), limits(9, None), in_flight, 5);
    assert_eq!(permit(0), (1, NoPermit::Busy));
    assert_eq!(permit(1), (0, NoPermit::Busy));
    target.note(
        at(6.0),
        &[(EventNumber::from_i64(9), TargetAnswer::Answered)],
        EVEN,
    );
    assert_eq!(target, TargetState::default());
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_a_minute() {
    let mut target = opened();
    let mut now = 0.0;
    for seconds in [5.0, 10.0, 20.0, 40.0, 60.0, 60.0] {
        let left = target.blocked(at(now));
        let expect = NoPermit::Open(Duration::from_secs_f64(seconds));
        assert_eq!(left, Some(expect), "after {now} s");
        now += seconds;
        target.note(at(now), &[fault(7)], EVEN);
    }
}

#[test]
fn a_fault_of_a_call_that_began_before_the_opening_changes_nothing() {
    let mut target = opened();
    let open_until = target.open_until;
    target.note(at(1.0), &[fault(77)], EVEN);
    assert_eq!(target.open_until, open_until);
    // A call without an answer is neither a fault nor a sign that the target is available again.
    let nothing = (EventNumber::from_i64(8), TargetAnswer::Nothing);
    target.note(at(5.0), &[nothing], EVEN);
    assert_eq!(target.breaker(at(5.0)), BreakerState::HalfOpen);
}

#[test]
fn a_pause_that_the_target_asks_for_is_kept_and_is_no_fault() {
    let mut target = opened();
    let wait = |seconds| {
        let wait = TargetAnswer::Wait(Duration::from_secs(seconds));
        (EventNumber::from_i64(9), wait)
    };
    target.note(at(5.0), &[wait(30), wait(10)], EVEN);
    assert_eq!(target.breaker(at(5.0)), BreakerState::Closed);
    let blocked = target.blocked(at(15.0));
    assert_eq!(blocked, Some(NoPermit::Wait(Duration::from_secs(20))));
    assert_eq!(target.blocked(at(35.0)), None);
}

#[test]
fn operators_see_until_when_no_calls_are_made() {
    let name: TargetName = "https://example.com"
        .parse()
        .expect("the target name must be valid");
    let target = opened();
    let row = |seconds| target.row(name.clone(), at(seconds), 2, None);
    let expect = (BreakerState::Open, Some(at(5.0)), 2, FAULTS_TO_OPEN);
    let shown = |row: TargetRow| (row.breaker, row.blocked_until, row.in_flight, row.faults);
    assert_eq!(shown(row(1.0)), expect);
    let expect = (BreakerState::HalfOpen, None, 2, FAULTS_TO_OPEN);
    assert_eq!(shown(row(5.0)), expect);
    assert!(row(1.0).is_in_trouble() && row(5.0).is_in_trouble());
    let fine = TargetState::default().row(name, at(1.0), 2, None);
    assert!(!fine.is_in_trouble(), "{fine:?}");
}

#[test]
fn the_name_of_a_target_is_visible_ascii() {
    for good in ["https://example.com:443", "x", &"x".repeat(NAME_MAX)] {
        assert_eq!(
            good.parse::<TargetName>()
                .expect("the target name must be valid")
                .as_str(),
            good
        );
    }
    for bad in ["", "a b", "ä", "a\n", &"x".repeat(NAME_MAX + 1)] {
        assert_eq!(bad.parse::<TargetName>(), Err(InvalidTargetName), "{bad:?}");
    }
}
