//! The operating system's random numbers.

use hookbox_driver::Rng;

/// Returns random bytes from the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        // getrandom(2) only fails on systems that cannot run hookbox anyway. Ids and keys must not
        // be guessable, so stopping is the only choice.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
