//! Three nodes.

use crate::case::{Case, Proof};

pub(super) const CASES: &[Case] = &[
    Case {
        number: 25,
        name: "leader-isolated-minority",
        what: "The leader is cut off, and the client with it: 503 for what is not \
            confirmed, nothing accepted is lost.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 26,
        name: "leader-isolated-majority",
        what: "The leader is cut off, the client is with the others: a burst of 503, \
            then success.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 27,
        name: "flapping-partitions",
        what: "Partitions that come and go: nothing lost.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 28,
        name: "two-of-three-killed",
        what: "Two of three nodes killed: 503 only; back, and everything accepted is \
            there.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 29,
        name: "rolling-restart",
        what: "Each node restarted in turn under load: no consumer hangs (H4).",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 30,
        name: "node-replaced",
        what: "A node is forgotten and another joins, with dead letters on the way.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 31,
        name: "one-member",
        what: "A queue declared on one node, the cluster grown to three: reported.",
        proofs: &[Proof::Cluster],
    },
];
