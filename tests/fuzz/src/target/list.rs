//! The list of all fuzzing targets.

use super::{Target, account, conditions, config, envelope, http, identity, signature, sql};

/// A target, and the name by which `--target` selects it.
pub struct Named {
    pub name: &'static str,
    /// What is fuzzed, and what must hold for every input.
    pub what: &'static str,
    /// A run with `--ci` divides the number of inputs by this number, which is larger for slow
    /// targets.
    pub ci_divisor: u64,
    pub make: fn() -> Box<dyn Target>,
}

/// All targets, in the order of `docs/FUZZING.md`.
pub const TARGETS: &[Named] = &[
    Named {
        name: "signature",
        what: "headers and body of every scheme: a request that was not signed never verifies",
        ci_divisor: 5,
        make: || Box::new(signature::Signatures::new()),
    },
    Named {
        name: "envelope",
        what: "a message of the broker: its envelopes can be encoded and decoded again without a \
               change",
        ci_divisor: 5,
        make: || Box::new(envelope::Envelopes),
    },
    Named {
        name: "account",
        what: "an accept report: it can be encoded and decoded again without a change",
        ci_divisor: 5,
        make: || Box::new(account::Accounts),
    },
    Named {
        name: "identity",
        what: "a body: its canonical text has the same digest and the same fields as the body",
        ci_divisor: 5,
        make: || Box::new(identity::Identities::new()),
    },
    Named {
        name: "conditions",
        what: "a body: the scan decides the conditions of routes as they are decided on the parsed \
               body",
        ci_divisor: 5,
        make: || Box::new(conditions::Decisions::new()),
    },
    Named {
        name: "sql",
        what: "the SQL text of a handler: its pieces, joined, are the text again, and each \
               statement keeps its other pieces when numbers replace its named parameters",
        ci_divisor: 5,
        make: || Box::new(sql::Scripts),
    },
    Named {
        name: "config",
        what: "a config file: it is accepted or refused, and no error shows a secret",
        ci_divisor: 20,
        make: || Box::new(config::Configs::new()),
    },
    Named {
        name: "http",
        what: "bytes on a connection of ingest: ingest responds or closes it, and accepts \
               nothing that is unsigned",
        ci_divisor: 50,
        make: || Box::new(http::Connections::new()),
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn the_page_lists_every_target() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = std::fs::read_to_string(root.join("docs/FUZZING.md")).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| "));
        let listed: Vec<&str> = rows.skip(1).collect();
        let targets = TARGETS.iter();
        let targets = targets.map(|target| format!("| {} | {} |", target.name, target.what));
        assert_eq!(
            listed,
            targets.collect::<Vec<_>>(),
            "the rows of docs/FUZZING.md must be the list of targets"
        );
    }
}
