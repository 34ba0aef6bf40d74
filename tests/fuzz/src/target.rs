//! What is fuzzed: one file each.

mod account;
mod config;
mod envelope;
mod http;
mod identity;
mod list;
mod signature;

use std::hash::{DefaultHasher, Hash, Hasher};

pub use list::{Named, TARGETS};

/// Something that reads what strangers write.
pub trait Target {
    /// Inputs to begin with that are made rather than committed: signed ones, say.
    fn seeds(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Words that mean something to it.
    fn words(&self) -> Vec<&'static [u8]> {
        Vec::new()
    }

    /// Tries an input, and returns the class of its outcome, or why the outcome is a failure.
    fn attempt(&mut self, input: &[u8]) -> Result<u64, String>;
}

/// A class by what it is made of.
pub fn class(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A text without what differs from input to input: digits, and what is quoted.
pub fn shape(text: &str) -> String {
    let mut quoted = false;
    let kept = text.chars().filter(|&one| {
        quoted ^= one == '"' || one == '`';
        !quoted && !one.is_ascii_digit()
    });
    kept.take(200).collect()
}
