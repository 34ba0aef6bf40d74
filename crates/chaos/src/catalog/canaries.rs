//! The hazards of lapin, sqlx, RabbitMQ and PostgreSQL that `docs/HAZARDS.md` numbers: one test
//! each that it is still there. One that fails is good news: its message says what may be removed.
//!
//! H6 and H7 have none: that a classic queue confirms before its disk has the message shows only
//! when the power goes, and a full disk brings down a quorum queue when it happens to
//! (`tests/journeys/full_disks.rs` prints when it did). H11 to H17 are not of a client library, and
//! their rules have tests of their own.

use crate::case::{Case, Proof};

const RABBITMQ: &str = "hookbox-driver-rabbitmq";
const POSTGRES: &str = "hookbox-driver-postgres";

/// By the number of the hazard, from 101.
pub const CASES: &[Case] = &[
    Case {
        number: 101,
        name: "canary-h1",
        what: "lapin swaps the confirms of a channel that tasks share.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["confirms_of_a_shared_channel_are_swapped"],
        }],
    },
    Case {
        number: 102,
        name: "canary-h2",
        what: "lapin reports a return with another message's confirm.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["a_return_sticks_to_another_message"],
        }],
    },
    Case {
        number: 103,
        name: "canary-h3",
        what: "lapin's waiting for all confirms hides the nacks.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["waiting_for_confirms_hides_rejections"],
        }],
    },
    Case {
        number: 104,
        name: "canary-h4",
        what: "lapin's recovery leaves a consumer hanging.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["auto_recovery_leaves_a_consumer_hanging"],
        }],
    },
    Case {
        number: 105,
        name: "canary-h5",
        what: "RabbitMQ confirms what a deleted queue never stored.",
        proofs: &[Proof::Canary {
            package: RABBITMQ,
            filters: &["a_deleted_queue_acknowledges_what_it_never_took"],
        }],
    },
    Case {
        number: 108,
        name: "canary-h8",
        what: "A cancelled begin poisons sqlx's pool.",
        proofs: &[Proof::Canary {
            package: POSTGRES,
            filters: &["h8_a_cancelled_begin_poisons_the_pool"],
        }],
    },
    Case {
        number: 109,
        name: "canary-h9",
        what: "PostgreSQL and sqlx say yes to the commit of an aborted transaction.",
        proofs: &[Proof::Canary {
            package: POSTGRES,
            filters: &["h9_the_commit_of_an_aborted_transaction_is_ok"],
        }],
    },
    Case {
        number: 110,
        name: "canary-h10",
        what: "A silent connection keeps its place in sqlx's pool.",
        proofs: &[Proof::Canary {
            package: POSTGRES,
            filters: &["h10_a_dead_connection_eats_its_slot_in_the_pool"],
        }],
    },
];
