//! Tests when a suspected event gets its turn, and for how long other work waits for it.

use super::*;

fn counters() -> Counters {
    Counters::new([&"scores".parse().expect("the name must be valid")])
}

fn complete(counters: &Counters) {
    for route in counters.routes.values() {
        route.done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn waits(ticket: &Ticket<'_>, counters: &Counters) -> Duration {
    let began = Instant::now();
    ticket.wait_for_turn(counters).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_event_without_a_death_runs_in_isolation_at_once() {
    let isolation = Isolation::default();
    let _busy = isolation.shared(IDLE).await;
    let waited = waits(&isolation.ticket(0), &counters()).await;
    assert_eq!(waited, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_only_event_runs_after_a_quiet_time() {
    let isolation = Isolation::default();
    let waited = waits(&isolation.ticket(1), &counters()).await;
    assert_eq!(waited, QUIET);
}

#[tokio::test(start_paused = true)]
async fn after_other_work_an_event_runs_as_soon_as_the_process_is_idle() {
    let (isolation, counters) = (Isolation::default(), counters());
    complete(&counters);
    let waited = waits(&isolation.ticket(1), &counters).await;
    assert_eq!(waited, IDLE);
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_those_with_fewer_deaths() {
    let (isolation, counters) = (Isolation::default(), counters());
    complete(&counters);
    let worse = isolation.ticket(2);
    let better = isolation.ticket(1);
    let second = async {
        waits(&better, &counters).await;
        sleep(3 * IDLE).await;
        complete(&counters);
        drop(better);
    };
    let (waited, ()) = tokio::join!(waits(&worse, &counters), second);
    assert!(waited > 5 * IDLE - CHECK_EVERY, "{waited:?}");
    assert!(waited < TURN_MAX, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_does_not_wait_for_ever_beside_work_that_never_ends() {
    let (isolation, counters) = (Isolation::default(), counters());
    complete(&counters);
    let _busy = isolation.shared(IDLE).await;
    let waited = waits(&isolation.ticket(1), &counters).await;
    assert_eq!(waited, TURN_MAX);
}

/// Tries once to isolate an event. Returns whether nothing else ran in the window, and how long
/// the window and the time after it took.
async fn window(isolation: &Isolation) -> (bool, Duration) {
    let began = Instant::now();
    let turn = isolation
        .isolate(0, &counters(), &CancellationToken::new())
        .await
        .expect("no shutdown must be seen");
    (turn.is_some(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_window_is_twice_as_long_after_one_that_was_too_short() {
    let isolation = Isolation::default();
    let busy = isolation.shared(WINDOW_MAX).await;
    for times in [1_u32, 2, 4, 8] {
        let both = 2 * times * WINDOW_FIRST;
        assert_eq!(window(&isolation).await, (false, both));
    }
    drop(busy);
    assert_eq!(window(&isolation).await, (true, Duration::ZERO));
    let _busy = isolation.shared(WINDOW_MAX).await;
    assert_eq!(window(&isolation).await, (false, 2 * WINDOW_FIRST));
}

#[tokio::test(start_paused = true)]
async fn work_that_takes_longer_than_it_may_keeps_other_work_for_a_short_time_only() {
    let isolation = Isolation::default();
    let stuck = isolation.shared(Duration::ZERO).await;
    assert_eq!(window(&isolation).await, (false, 2 * WINDOW_FIRST));
    for _ in 0..3 {
        let both = WINDOW_FIRST + OVERDUE_BREAK;
        assert_eq!(window(&isolation).await, (false, both));
    }
    drop(stuck);
    assert_eq!(window(&isolation).await, (true, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn one_suspected_event_at_a_time_keeps_other_work_from_starting() {
    let isolation = Isolation::default();
    let _busy = isolation.shared(WINDOW_MAX).await;
    let (first, second) = tokio::join!(window(&isolation), window(&isolation));
    assert_eq!(first, (false, 2 * WINDOW_FIRST));
    assert_eq!(second, (false, 6 * WINDOW_FIRST));
}

#[tokio::test(start_paused = true)]
async fn no_other_handler_runs_beside_an_isolated_one() {
    let isolation = Isolation::default();
    let isolated = isolation.ticket(0).isolate().await;
    let other = tokio::time::timeout(QUIET, isolation.shared(IDLE)).await;
    assert!(
        other.is_err(),
        "no other handler may run beside the isolated one"
    );
    drop(isolated);
    let _other = isolation.shared(IDLE).await;
    let beside = tokio::time::timeout(QUIET, isolation.ticket(0).isolate()).await;
    assert!(
        beside.is_err(),
        "no isolated run may start beside another handler"
    );
}
