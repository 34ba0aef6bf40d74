//! The fuzzing targets, one in each file.

mod account;
mod config;
mod envelope;
mod http;
mod identity;
mod list;
mod signature;

use std::hash::{DefaultHasher, Hash, Hasher};

pub use list::{Named, TARGETS};

/// A parser that reads untrusted input.
pub trait Target {
    /// Returns further inputs for the corpus, which are computed rather than committed, such as
    /// signed requests.
    fn seeds(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Returns words that have a meaning for the parser.
    fn words(&self) -> Vec<&'static [u8]> {
        Vec::new()
    }

    /// Tries an input. Returns the class of its outcome, or the reason why the outcome is a
    /// failure.
    fn attempt(&mut self, input: &[u8]) -> Result<u64, String>;
}

/// Computes a class from the values that describe an outcome.
pub fn class(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Removes from a text what differs between inputs: digits, and text in quotes.
pub fn shape(text: &str) -> String {
    let mut quoted = false;
    let kept = text.chars().filter(|&one| {
        quoted ^= one == '"' || one == '`';
        !quoted && !one.is_ascii_digit()
    });
    kept.take(200).collect()
}
