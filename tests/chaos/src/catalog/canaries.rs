//! The canaries: for each hazard of lapin, sqlx, RabbitMQ and PostgreSQL in `docs/HAZARDS.md`, one
//! test that the hazard still exists. When a canary fails, upstream has fixed the hazard, and the
//! message of the test says which workaround may be removed.
//!
//! H6 and H7 have no canary. H6 (a classic queue confirms a message that is not on disk yet) shows
//! only when the power fails. H7 (a full disk stops a quorum queue) happens at some full disks and
//! not at others; `tests/journeys/full_disks.rs` prints whether it happened. H11 to H17 are not
//! hazards of a client library. Other tests check what hookbox does about each of them.

use crate::case::{Case, Proof};

const RABBITMQ: &str = "hookbox-driver-rabbitmq";
const POSTGRES: &str = "hookbox-driver-postgres";

/// The canaries in order of their numbers: 100 plus the number of the hazard.
pub const CASES: &[Case] = &[
    Case {
        number: 101,
        name: "canary-h1",
        what: "lapin swaps the confirms of a channel that several tasks share.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["confirms_of_a_shared_channel_are_swapped"],
        }],
    },
    Case {
        number: 102,
        name: "canary-h2",
        what: "lapin reports a returned message with the confirm of another message.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["a_return_sticks_to_another_message"],
        }],
    },
    Case {
        number: 103,
        name: "canary-h3",
        what: "lapin's `wait_for_confirms` does not report nacks.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["waiting_for_confirms_hides_rejections"],
        }],
    },
    Case {
        number: 104,
        name: "canary-h4",
        what: "lapin's automatic recovery leaves a consumer hanging.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["auto_recovery_leaves_a_consumer_hanging"],
        }],
    },
    Case {
        number: 105,
        name: "canary-h5",
        what: "RabbitMQ confirms messages that a deleted queue never stored.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["a_deleted_queue_acknowledges_what_it_never_took"],
        }],
    },
    Case {
        number: 108,
        name: "canary-h8",
        what: "A cancelled `begin` poisons sqlx's connection pool.",
        proofs: &[Proof::Canary {
            package: POSTGRES,
            filters: &["h8_a_cancelled_begin_poisons_the_pool"],
        }],
    },
    Case {
        number: 109,
        name: "canary-h9",
        what: "PostgreSQL and sqlx report success for the commit of an aborted transaction.",
        proofs: &[Proof::Canary {
            package: POSTGRES,
            filters: &["h9_the_commit_of_an_aborted_transaction_is_ok"],
        }],
    },
    Case {
        number: 110,
        name: "canary-h10",
        what: "A dead connection keeps its slot in sqlx's pool.",
        proofs: &[Proof::Canary {
            package: POSTGRES,
            filters: &["h10_a_dead_connection_eats_its_slot_in_the_pool"],
        }],
    },
];
