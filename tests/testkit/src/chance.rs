//! Random numbers from a seed: the same seed gives the same numbers on every machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator of random numbers: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
/// Number Generators, 2014).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Makes a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a random number of 64 bits.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.any() % (high - low + 1)
    }

    /// Returns one of these values, each with the same probability.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let place = usize::try_from(self.any() % all.len() as u64).unwrap_or(0);
        &all[place]
    }
}

/// Returns a seed that was most likely never used before, and is short enough to be typed.
pub fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.as_nanos() as u64);
    Chance::new(nanos).any() % 1_000_000_000
}
