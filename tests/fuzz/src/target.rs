//! The fuzzing targets, one in each file.

mod account;
mod conditions;
mod config;
mod envelope;
mod http;
mod identity;
mod list;
mod signature;
mod sql;

use std::hash::{DefaultHasher, Hash, Hasher};

pub use list::{Named, TARGETS};

/// A parser that reads untrusted input.
pub trait Target {
    /// Returns inputs to start with besides the committed inputs, for targets whose inputs must be
    /// computed, such as signed requests.
    fn seeds(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Returns byte strings that have a meaning for the parser, such as keywords. Mutations insert
    /// them.
    fn words(&self) -> Vec<&'static [u8]> {
        Vec::new()
    }

    /// Passes an input to the parser. Returns a number for the class of the result (such as one
    /// kind of error), or the reason why the result is a failure of the parser.
    fn attempt(&mut self, input: &[u8]) -> Result<u64, String>;
}

/// Returns one number, the class, for the values that describe the result of a parser. Equal values
/// give the same class.
pub fn class(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Removes from an error text what differs between inputs of the same class: digits, and text in
/// quotes.
pub fn shape(text: &str) -> String {
    let mut quoted = false;
    let kept = text.chars().filter(|&one| {
        quoted ^= one == '"' || one == '`';
        !quoted && !one.is_ascii_digit()
    });
    kept.take(200).collect()
}
