//! Reproducible chance: SplitMix64 over a seed, the number of the event and a purpose, so that an
//! event does not depend on which others were generated before it.

/// A stream of numbers.
pub(super) struct Chance(u64);

/// The purpose of the numbers: two purposes never share a stream.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// The content of the body.
    Body,
    /// What is done with it: sent twice, altered, late.
    Fate,
    /// How long to wait before sending again.
    Backoff,
    /// Where the spreading of a share starts.
    Share,
}

/// The shares of events to which something is done. Each is decided separately, so that what is
/// sent twice does not depend on what is altered.
#[derive(Clone, Copy)]
pub(super) enum Share {
    /// The nature of the event.
    Nature,
    /// Whether it is sent twice.
    Duplicate,
    /// Whether it is delayed.
    Late,
}

/// A number from 0 to 1 by which a share is selected. Over the numbers of the events it is spread
/// as evenly as possible (multiples of an irrational number, modulo 1), so that half a percent of a
/// thousand is five in every run, and not none in one and nine in the next.
pub(super) fn spread(seed: u64, number: u32, share: Share) -> f64 {
    // The fractions of the golden ratio and of the square roots of 2 and 3, in 64 bits.
    let (step, salt): (u64, u32) = match share {
        Share::Nature => (0x9e37_79b9_7f4a_7c15, 1),
        Share::Duplicate => (0x6a09_e667_f3bc_c909, 2),
        Share::Late => (0xbb67_ae85_84ca_a73b, 3),
    };
    let start = Chance::new(seed, salt, Purpose::Share).next();
    let point = start.wrapping_add(step.wrapping_mul(u64::from(number)));
    unit(point)
}

/// The upper 53 bits, which an f64 represents exactly.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

impl Chance {
    pub(super) fn new(seed: u64, number: u32, purpose: Purpose) -> Self {
        let purpose = match purpose {
            Purpose::Body => 1,
            Purpose::Fate => 2,
            Purpose::Backoff => 3,
            Purpose::Share => 4,
        };
        let mut mixed = Self(seed ^ (u64::from(number) << 8 | purpose));
        // Consecutive numbers differ by one bit: mixed twice, they have nothing in common.
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

    /// A number below `bound`, which is small compared with 2^64, so that the bias is negligible.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// From 0 to 1, 1 excluded.
    pub(super) fn unit(&mut self) -> f64 {
        unit(self.next())
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
