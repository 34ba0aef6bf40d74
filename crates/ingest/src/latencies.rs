//! Counts durations in fixed buckets. Recording a duration is cheap, and the buckets of several
//! processes can be added up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in seconds: from the fsync time of the fastest disk to more than the
/// confirm deadline (2.5 s). A longer duration is counted in the last bucket, which has no bound.
pub const BOUNDS_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Latencies {
    /// One count for each bound, and one for longer durations.
    counts: [AtomicU64; BOUNDS_SECONDS.len() + 1],
    micros: AtomicU64,
}

impl Latencies {
    pub(crate) fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns each bound with the count of its own bucket, not cumulated; the last bound is
    /// infinite.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|one| one.load(Ordering::Relaxed));
        bounds.zip(counts).collect()
    }

    /// Returns the sum of all recorded durations.
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let latencies = Latencies::default();
        for millis in [1, 2, 5_000, 5_001] {
            latencies.note(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = latencies
            .buckets()
            .iter()
            .map(|(_, count)| *count)
            .collect();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((latencies.sum_seconds() - 10.004).abs() < 0.000_1);
    }
}
