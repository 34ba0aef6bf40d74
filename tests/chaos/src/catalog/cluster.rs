//! The fault cases of a cluster of three RabbitMQ nodes.

use crate::case::{Case, Proof};

pub(super) const CASES: &[Case] = &[
    Case {
        number: 25,
        name: "leader-isolated-minority",
        what: "The node that leads the queues is cut off from the other nodes, together with the \
            client: unconfirmed requests are answered with status 503, and no accepted event is \
            lost.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 26,
        name: "leader-isolated-majority",
        what: "The node that leads the queues is cut off, and the client reaches the other nodes: \
            some requests are answered with status 503, and then events are accepted again.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 27,
        name: "flapping-partitions",
        what: "Network partitions between the nodes come and go: no accepted event is lost.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 28,
        name: "two-of-three-killed",
        what: "Two of three nodes are killed: every request is answered 503, and after the nodes \
            return no accepted event is lost.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 29,
        name: "rolling-restart",
        what: "Each node is restarted in turn under load: no consumer hangs (H4).",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 30,
        name: "node-replaced",
        what: "A node is removed and another joins while dead letters are being stored: no event \
            is lost.",
        proofs: &[Proof::Cluster],
    },
    Case {
        number: 31,
        name: "one-member",
        what: "A queue was declared on one node, and the cluster then grew to three nodes: hookbox \
            reports that the queue has only one replica.",
        proofs: &[Proof::Cluster],
    },
];
