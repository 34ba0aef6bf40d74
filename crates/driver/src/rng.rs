//! The random number generator as a trait, so that tests control the random bytes.

/// A generator of random bytes, for ids and random delays.
pub trait Rng: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// Returns ten random bytes, as many as a UUIDv7 needs.
    fn ten(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        bytes
    }

    /// Returns a random number from 0 up to, but not including, 1.
    fn unit(&self) -> f64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        // 53 random bits are used, because an f64 represents exactly that many.
        (u64::from_be_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The operating system's random generator.
#[derive(Debug, Clone, Copy)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        // getrandom(2) only fails on systems on which hookbox cannot run anyway. Ids and keys must
        // not be guessable, so the process ends if it fails.
        getrandom::fill(bytes).expect("the operating system must give random bytes");
    }
}
