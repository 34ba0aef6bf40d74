//! Randomises pauses, so that instances which lost the broker at the same moment do not reconnect
//! at the same moment, and readers of one queue do not collide each time.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Returns half to all of a pause. The keys of a `RandomState` are random, which is enough to
/// spread the pauses.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + 0.5 * share)
}
