//! Randomises pauses, so that processes that lost the broker at the same moment reconnect at
//! different moments, and concurrent readers of one queue do not collide again and again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Returns a random time between half of `pause` and `pause`. The keys of a `RandomState` are
/// random, which is random enough to spread pauses.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + 0.5 * share)
}
