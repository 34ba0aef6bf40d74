//! Counts operations a second.

use std::time::{Duration, Instant};

/// How long one measurement lasts: long enough to average out a pause of the disk.
const LASTS: Duration = Duration::from_secs(3);

/// How long connections, caches and files warm up before a measurement.
const WARM_UP: Duration = Duration::from_millis(500);

/// Counts operations, after a warm-up that is not counted.
pub(super) struct Meter {
    warm: Instant,
    began: Option<Instant>,
    count: u64,
}

impl Meter {
    pub fn new() -> Self {
        Meter {
            warm: Instant::now() + WARM_UP,
            began: None,
            count: 0,
        }
    }

    /// Counts one operation, and returns whether the measurement must continue.
    pub fn more(&mut self) -> bool {
        let now = Instant::now();
        match self.began {
            None if now < self.warm => true,
            None => {
                self.began = Some(now);
                true
            }
            Some(began) => {
                self.count += 1;
                now - began < LASTS
            }
        }
    }

    pub fn rate(&self) -> f64 {
        let seconds = self
            .began
            .map_or(0.0, |began| began.elapsed().as_secs_f64());
        self.count as f64 / seconds.max(f64::MIN_POSITIVE)
    }
}
