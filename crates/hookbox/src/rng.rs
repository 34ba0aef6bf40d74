//! The system's random numbers.

use hookbox_driver::Rng;

/// Random bytes from the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        // getrandom(2) fails on no system that can run the rest; ids and keys must not be
        // guessable, so stopping is the only choice.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
