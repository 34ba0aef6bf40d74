//! Chance that can be repeated: SplitMix64 over a seed, the number of the event and a purpose, so
//! that what one event is does not depend on which others were made before it.

/// A stream of numbers.
pub(super) struct Chance(u64);

/// What the numbers are for: two purposes never share a stream.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// What the body says.
    Body,
    /// What is done with it: sent twice, altered, late.
    Fate,
    /// How long to wait before sending again.
    Backoff,
}

impl Chance {
    pub(super) fn new(seed: u64, number: u32, purpose: Purpose) -> Self {
        let purpose = match purpose {
            Purpose::Body => 1,
            Purpose::Fate => 2,
            Purpose::Backoff => 3,
        };
        let mut mixed = Self(seed ^ (u64::from(number) << 8 | purpose));
        // One step apart is one bit apart: mixed twice, neighbours have nothing in common.
        let start = mixed.next();
        Self(start)
    }

    /// The next number (Steele, Lea and Flood 2014).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is small beside 2^64, so that no number is favoured to
    /// speak of.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// From 0 to 1, 1 excluded.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of several.
    pub(super) fn one_of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let index = self.below(others.len() as u64 + 1) as usize;
        index
            .checked_sub(1)
            .and_then(|index| others.get(index))
            .copied()
            .unwrap_or(first)
    }
}
