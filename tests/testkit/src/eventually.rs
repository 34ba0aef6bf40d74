//! Waiting for a condition, with a limit. A test never sleeps for a time that it guesses.
//!
//! Only a test that fails reaches the limit. The limit is long, because the machine may be busy.
//! [`promised`] is for a time that hookbox promises. Code without a runtime waits with
//! [`wait_until`](crate::servers::process::wait_until).

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::lateness::Lateness;
use crate::poll_pause::pause_after;

/// The limit of a wait, unless the test gives another one. Only a failing test waits as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest and the longest pause between two polls. The shortest one is short enough to see a
/// state that lasts for a few milliseconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(150));

/// When a wait has lasted this long, its pauses begin to grow with the time that has passed. Only
/// tests with a paused clock wait longer, some of them for hours of that clock. With short pauses,
/// they would poll far too often.
const LONG: Duration = Duration::from_secs(60);

/// What one poll found: a `bool`, or a `Result` whose `Ok` is the value that the test waits for,
/// and whose `Err` is the state that a failed test shows.
pub trait Observation {
    /// The value for which the test waits.
    type Value;
    /// The state while the condition does not hold.
    type Otherwise: Debug;

    /// Returns the value if the condition holds.
    ///
    /// # Errors
    /// While the condition does not hold.
    fn result(self) -> Result<Self::Value, Self::Otherwise>;
}

impl Observation for bool {
    type Value = ();
    type Otherwise = bool;

    fn result(self) -> Result<(), bool> {
        if self { Ok(()) } else { Err(self) }
    }
}

impl<T, E: Debug> Observation for Result<T, E> {
    type Value = T;
    type Otherwise = E;

    fn result(self) -> Self {
        self
    }
}

/// Polls until the condition holds, and returns the value. A condition that holds only between two
/// polls is missed.
///
/// # Panics
/// With the last state, when [`PATIENCE`] has passed.
pub async fn eventually<O: Observation>(what: &str, poll: impl AsyncFnMut() -> O) -> O::Value {
    within(PATIENCE, what, poll).await
}

/// Polls until the condition holds, like [`eventually`], with another limit.
///
/// # Panics
/// With the last state, when the limit has passed.
pub async fn within<O: Observation>(
    limit: Duration,
    what: &str,
    poll: impl AsyncFnMut() -> O,
) -> O::Value {
    poll_until(|| limit, what, poll).await
}

/// Polls until the condition holds, where hookbox promises that it does within `limit`. Returns how
/// long it took. If the machine was too busy to run the test for some time, hookbox was delayed as
/// well, so the limit is extended by this delay.
///
/// # Panics
/// With the last state, when the promise is broken.
pub async fn promised<O: Observation>(
    limit: Duration,
    what: &str,
    poll: impl AsyncFnMut() -> O,
) -> Duration {
    let (began, lateness) = (Instant::now(), Lateness::measure());
    poll_until(|| limit + lateness.allowance(), what, poll).await;
    began.elapsed()
}

/// Polls until the value is as wanted, and returns it.
///
/// # Panics
/// With the last value, when [`PATIENCE`] has passed.
pub async fn eventually_is<T: Debug>(
    what: &str,
    mut poll: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let checked = async || {
        let value = poll().await;
        if wanted(&value) {
            Ok(value)
        } else {
            Err(value)
        }
    };
    eventually(what, checked).await
}

async fn poll_until<O: Observation>(
    limit: impl Fn() -> Duration,
    what: &str,
    mut poll: impl AsyncFnMut() -> O,
) -> O::Value {
    let began = Instant::now();
    loop {
        let polled = Instant::now();
        let last = match poll().await.result() {
            Ok(value) => return value,
            Err(last) => last,
        };
        let (waited, limit) = (began.elapsed(), limit());
        assert!(
            waited < limit,
            "a condition did not hold within {limit:?}: {what}; last state: {last:?}"
        );
        sleep(pause(polled.elapsed(), waited)).await;
    }
}

/// Returns the pause after a poll that took `cost`.
fn pause(cost: Duration, waited: Duration) -> Duration {
    if waited > LONG {
        return waited / 100;
    }
    pause_after(cost, PAUSE)
}

#[cfg(test)]
mod tests;
