//! Reproducible random numbers: the generator SplitMix64, started with a seed, the number of an
//! event, and a purpose. So the content of an event does not depend on which other events were
//! generated before.

/// A stream of random numbers.
pub(super) struct Chance(u64);

/// The purpose of a stream of random numbers. Streams with different purposes are independent.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// The content of the body.
    Body,
    /// What is done with the event: whether and how it is sent twice, altered or delayed.
    Fate,
    /// How long to wait before a request is sent again.
    Backoff,
    /// The start value from which [`spread`] distributes the events of a share evenly.
    Share,
}

/// A share of the events that is treated specially. Shares are selected independently, so whether
/// an event is sent twice does not depend on whether it is altered.
#[derive(Clone, Copy)]
pub(super) enum Share {
    /// Whether the event is valid, altered after signing, or malformed.
    Nature,
    /// Whether the event is sent twice.
    Duplicate,
    /// Whether the event is delayed.
    Late,
}

/// Returns a number from 0 to 1. The caller compares it with the size of a share to decide whether
/// an event belongs to that share. Over consecutive events the numbers are distributed as evenly as
/// possible (multiples of an irrational number, modulo 1). So half a percent of a thousand events
/// is five events in every run. With random numbers it could be none in one run and nine in the
/// next.
pub(super) fn spread(seed: u64, number: u32, share: Share) -> f64 {
    // The fractional parts of the golden ratio and of the square roots of 2 and 3, as 64-bit
    // integers.
    let (step, salt): (u64, u32) = match share {
        Share::Nature => (0x9e37_79b9_7f4a_7c15, 1),
        Share::Duplicate => (0x6a09_e667_f3bc_c909, 2),
        Share::Late => (0xbb67_ae85_84ca_a73b, 3),
    };
    let start = Chance::new(seed, salt, Purpose::Share).next();
    let point = start.wrapping_add(step.wrapping_mul(u64::from(number)));
    unit(point)
}

/// Converts the upper 53 bits to a number from 0 to 1, excluding 1. An f64 represents 53 bits
/// exactly.
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
        // Consecutive event numbers differ in few bits. Mixing twice makes their streams
        // independent.
        let start = mixed.next();
        Self(start)
    }

    /// Returns the next random number (Steele, Lea and Flood 2014).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a random number below `bound`. The bias is negligible, because `bound` is small
    /// compared with 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Returns a random number from 0 to 1, excluding 1.
    pub(super) fn unit(&mut self) -> f64 {
        unit(self.next())
    }

    /// Returns one of several values at random.
    pub(super) fn one_of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let index = self.below(others.len() as u64 + 1) as usize;
        index
            .checked_sub(1)
            .and_then(|index| others.get(index))
            .copied()
            .unwrap_or(first)
    }
}
