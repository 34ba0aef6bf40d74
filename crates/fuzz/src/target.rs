//! What is fuzzed: one file each.

mod account;
mod config;
mod envelope;
mod http;
mod identity;
mod signature;

use std::hash::{DefaultHasher, Hash, Hasher};

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

/// A target by its name.
pub struct Named {
    pub name: &'static str,
    pub what: &'static str,
    /// By how much a short run divides the number of inputs; larger for slow targets.
    pub ci_divisor: u64,
    pub make: fn() -> Box<dyn Target>,
}

/// All of them.
pub const TARGETS: &[Named] = &[
    Named {
        name: "signature",
        what: "headers and body of every scheme: nothing verifies that was not signed",
        ci_divisor: 5,
        make: || Box::new(signature::Signatures::new()),
    },
    Named {
        name: "envelope",
        what: "a message of the broker: what is read is written and read again alike",
        ci_divisor: 5,
        make: || Box::new(envelope::Envelopes),
    },
    Named {
        name: "account",
        what: "an accept report: what is read is written and read again alike",
        ci_divisor: 5,
        make: || Box::new(account::Accounts),
    },
    Named {
        name: "identity",
        what: "a body: one canonical text, one digest, the same fields from either",
        ci_divisor: 5,
        make: || Box::new(identity::Identities::new()),
    },
    Named {
        name: "config",
        what: "a config file: accepted or refused, and no secret in the error",
        ci_divisor: 20,
        make: || Box::new(config::Configs::new()),
    },
    Named {
        name: "http",
        what: "bytes on a connection of ingest: a response or an end, and nothing \
               unsigned is accepted",
        ci_divisor: 50,
        make: || Box::new(http::Connections::new()),
    },
];

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
