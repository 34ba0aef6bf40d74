//! All targets, by name.

use super::{Target, account, config, envelope, http, identity, signature};

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
