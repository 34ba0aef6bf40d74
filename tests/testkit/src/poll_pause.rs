//! The pause between two polls of a condition.

use std::time::Duration;

/// A pause is this many times as long as the poll before it took, so that polls take at most a
/// fifth of the time of a processor, as long as the pause is not the longest one. A poll may query
/// a server or start a process, and the processor is needed for what the test waits for.
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
