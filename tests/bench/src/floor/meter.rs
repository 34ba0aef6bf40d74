//! Counts operations a second.

use std::time::{Duration, Instant};

/// The length of one measurement, `lasts`, and of the time before it, `warm_up`, in which
/// connections, caches and files warm up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub warm_up: Duration,
    pub lasts: Duration,
}

impl Length {
    /// Returns the length of a measurement: long enough to average out a pause of the disk. With
    /// `is_quick`, the length is a tenth of a second, because the bench only checks that the floors
    /// can be measured.
    pub fn new(is_quick: bool) -> Length {
        let (warm_up, lasts) = if is_quick { (20, 100) } else { (500, 3_000) };
        Length {
            warm_up: Duration::from_millis(warm_up),
            lasts: Duration::from_millis(lasts),
        }
    }
}

/// Counts operations, after a warm-up that is not counted.
pub(super) struct Meter {
    lasts: Duration,
    warm: Instant,
    began: Option<Instant>,
    count: u64,
}

impl Meter {
    pub fn new(length: Length) -> Self {
        Meter {
            lasts: length.lasts,
            warm: Instant::now() + length.warm_up,
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
                now - began < self.lasts
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
