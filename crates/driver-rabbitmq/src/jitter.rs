//! Pauses that differ, so that instances which lost the broker at the same moment do not reconnect
//! at the same moment, and those that read the same queue do not meet each time.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Half to all of a pause. The keys of a `RandomState` are random, which is all that spreading
/// takes.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + 0.5 * share)
}
