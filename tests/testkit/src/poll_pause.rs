//! The pause between two polls of a condition.

use std::time::Duration;

/// A pause lasts this many times as long as the poll before it, but never less than the shortest
/// and never more than the longest pause. So polls take a fifth of the time of one processor, and
/// leave the rest to the polled code. Only a poll with the longest pause after it may take more.
const PER_COST: u32 = 4;

/// Returns the pause after a poll that took `cost`, from the shortest to the longest one.
pub(crate) fn pause_after(cost: Duration, (shortest, longest): (Duration, Duration)) -> Duration {
    cost.saturating_mul(PER_COST).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_with_the_cost_of_its_poll_within_its_limits() {
        const MS: Duration = Duration::from_millis(1);
        for (cost, pause) in [
            (Duration::ZERO, 50 * MS),
            (12 * MS, 50 * MS),
            (13 * MS, 52 * MS),
            (75 * MS, 300 * MS),
            (76 * MS, 300 * MS),
            (Duration::MAX, 300 * MS),
        ] {
            assert_eq!(pause_after(cost, (50 * MS, 300 * MS)), pause, "{cost:?}");
        }
    }
}
