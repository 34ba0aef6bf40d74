//! The generator of all random numbers in a run.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hookbox_driver::Rng;

/// A generator of random numbers from a seed. The algorithm is splitmix64: it is small, and its
/// numbers are well distributed. It is not from a library, because the next version of a library
/// could change the numbers of each seed.
pub(crate) struct Chance {
    state: Mutex<u64>,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        let state = Mutex::new(seed);
        Self { state }
    }

    pub fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 up to but not including `bound`, which is at least 1. The remainder
    /// makes some numbers slightly more frequent than others, which does not matter here.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Returns true in `share` of a hundred cases.
    pub fn percent(&self, share: u64) -> bool {
        self.below(100) < share
    }

    pub fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    pub fn pick<'a, T>(&self, among: &'a [T]) -> Option<&'a T> {
        among.get(usize::try_from(self.below(among.len() as u64)).unwrap_or(0))
    }
}

impl Rng for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.next().to_be_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}
