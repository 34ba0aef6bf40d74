//! The pause between two polls of a condition.

use std::time::Duration;

/// A pause lasts this many times as long as the poll before it, within the limits of pauses. So
/// polls take at most a fifth of the time of a processor, unless the longest pause is too short for
/// that. The polled code needs the processor, too.
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
