//! Tests of the waits: what they return, when they fail, and how often they poll.

use std::cell::Cell;
use std::future::ready;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Runs a wait that must fail, and returns the text of its panic.
async fn failure(wait: impl Future<Output = ()> + Send + 'static) -> String {
    let mut tasks = JoinSet::new();
    tasks.spawn(wait);
    let ended = tasks.join_next().await.unwrap();
    let panic = ended.unwrap_err().into_panic();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_value_is_returned_once_the_condition_holds() {
    let polls = Cell::new(0);
    let count = || {
        polls.set(polls.get() + 1);
        polls.get()
    };
    eventually("three polls", async || count() == 3).await;
    let sixth = eventually("six polls", async || match count() {
        6 => Ok("six"),
        fewer => Err(fewer),
    });
    assert_eq!(sixth.await, "six");
    assert_eq!(polls.get(), 6);
    let began = Instant::now();
    let due = began + 5 * MS;
    let took = promised(5 * MS, "a state after five", || {
        ready(Instant::now() >= due)
    });
    assert_eq!(took.await, 6 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_failure_names_the_condition_its_limit_and_the_last_state() {
    let never = failure(eventually("the light is green", async || false)).await;
    assert_eq!(
        never,
        "a condition did not hold within 60s: the light is green; last state: false"
    );
    let never = failure(within(5 * MS, "it is three", async || Err::<(), _>("two"))).await;
    assert_eq!(
        never,
        "a condition did not hold within 5ms: it is three; last state: \"two\""
    );
}

/// A state that lasts for three milliseconds must be seen by a poll, however late it begins.
#[tokio::test(start_paused = true)]
async fn a_short_state_is_not_missed() {
    let began = Instant::now();
    let lasts = || (30_000..30_003).contains(&began.elapsed().as_millis());
    eventually("a short state", async || lasts()).await;
}

#[test]
fn a_costly_poll_is_followed_by_a_longer_pause() {
    assert_eq!(pause(Duration::ZERO, LONG), 2 * MS);
    assert_eq!(pause(5 * MS, LONG), 20 * MS);
    assert_eq!(pause(80 * MS, LONG), 150 * MS);
    assert_eq!(pause(Duration::ZERO, 60 * LONG), 36_000 * MS);
}
