//! The fault cases of HTTP clients, of a drain and of faults in all parts at once.

use crate::case::{Case, Proof};
use crate::fault::Fault::{KillWorker, TermIngest, TermWorker};

use crate::pair::BOTH;

pub(super) const CASES: &[Case] = &[
    Case {
        number: 72,
        name: "slow-clients",
        what: "Clients send heads or bodies slowly, stay idle or close one direction of the \
            connection: hookbox limits how much time and how many connections they may take.",
        proofs: &[Proof::Tests {
            package: "hookbox-ingest",
            filters: &[
                "idle_connections_keep_a_healthy_one_waiting_for_a_bounded_time",
                "a_slow_head_is_cut",
                "a_slow_body_is_answered_408",
                "one_address_has_so_many_connections",
                "who_never_reads_the_answers_is_cut",
                "an_incomplete_handshake_is_cut",
            ],
        }],
    },
    Case {
        number: 73,
        name: "framing",
        what: "Requests have contradicting or unusual framing: they are refused, and nothing \
            after them on the connection is read.",
        proofs: &[Proof::Tests {
            package: "hookbox-ingest",
            filters: &[
                "what_follows_a_strange_request_is_never_taken",
                "a_whole_address_in_the_request_line_is_the_same_place",
                "other_methods_and_places",
                "two_framings_at_once",
                "framings_that_contradict_themselves_are_refused",
                "too_many_headers_and_too_long_heads_are_refused",
            ],
        }],
    },
    Case {
        number: 74,
        name: "lying-lengths",
        what: "A declared length does not match the body: no connection hangs, and no signature \
            is verified over bytes that are not the body.",
        proofs: &[Proof::Tests {
            package: "hookbox-ingest",
            filters: &[
                "a_body_that_ends_early_is_not_published",
                "what_follows_a_body_that_is_too_short_is_not_taken",
            ],
        }],
    },
    Case {
        number: 75,
        name: "signatures",
        what: "A request has malformed or damaged signatures, too many of them, or one of another \
            scheme: it is refused.",
        proofs: &[Proof::Tests {
            package: "hookbox-signature",
            filters: &[
                "a_thousand_signatures_are_refused_unread",
                "text_in_utf16_is_refused",
                "a_line_end_too_many_is_refused",
                "a_bad_signature_is_refused_by_its_kind",
                "any_flipped_bit_is_refused",
            ],
        }],
    },
    Case {
        number: 76,
        name: "timestamps",
        what: "Signed timestamps are missing, malformed, early or late: the request is refused.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-signature",
                filters: &[
                    "a_timestamp_is_signed_and_has_one_text",
                    "damage_is_refused_by_its_kind",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["genuine_requests_that_a_wrong_clock_refuses_are_counted_as_such"],
            },
        ],
    },
    Case {
        number: 77,
        name: "captured-requests",
        what: "A genuine request is sent again, under its own id and under other ids: it has \
            one effect.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-signature",
                filters: &["an_identity_is_never_taken_from_what_is_not_signed"],
            },
            Proof::Tests {
                package: "hookbox-ingest",
                filters: &[
                    "an_unsigned_delivery_id_neither_makes_an_event_nor_hides_one",
                    "the_same_event_twice_has_one_identity_and_two_receipts",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_conflict_is_kept", "a_duplicate_has_one_effect"],
            },
        ],
    },
    Case {
        number: 78,
        name: "injection",
        what: "Ids hold arbitrary text: each such request is stored or refused, and none is \
            answered 500.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-ingest",
                filters: &[
                    "strange_texts_are_ids_and_types_like_any_other",
                    "strange_ids_in_a_signed_header_are_kept_or_refused_and_never_a_fault",
                    "scalars_of_any_kind_are_identities",
                ],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["what_text_and_time_cannot_hold_is_no_poison"],
            },
        ],
    },
    Case {
        number: 79,
        name: "packed-bodies",
        what: "Compressed bodies are refused.",
        proofs: &[Proof::Tests {
            package: "hookbox-ingest",
            filters: &["a_body_that_is_packed_is_refused"],
        }],
    },
    Case {
        number: 80,
        name: "drain",
        what: "SIGTERM arrives under load: every response is correct, and the process exits \
            within the drain deadline.",
        proofs: &[
            Proof::Crashes(&["ingest.draining", "worker.draining"]),
            Proof::Faults {
                pairs: BOTH,
                fast: true,
                faults: &[TermIngest, TermWorker, TermIngest, TermWorker],
            },
            Proof::Tests {
                package: "hookbox-ingest",
                filters: &["a_request_under_way_gets_its_true_answer"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "stopped_under_load_and_started_again",
                    "stopped_twice_under_load_is_stopped_once",
                    "stopped_while_the_broker_is_frozen",
                    "stopped_while_the_store_is_frozen",
                ],
            },
            Proof::Tests {
                package: "hookbox",
                filters: &["a_second_sigterm_leaves_open_requests_their_answers"],
            },
        ],
    },
    Case {
        number: 81,
        name: "exhaustion",
        what: "Bodies, connections or waiting requests exceed their limits: the excess is answered \
            with status 503. If code panics during a request, no other request fails.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-ingest",
                filters: &[
                    "a_panic_costs_its_own_request_and_no_other",
                    "bodies_in_memory_are_bounded_and_given_back",
                    "more_than_may_wait_is_503_at_once",
                    "a_publish_slot_that_panics_answers_its_requests_and_keeps_running",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["out_of_descriptors_nothing_panics_and_processing_resumes"],
            },
            Proof::Tests {
                package: "hookbox",
                filters: &["a_panic_is_logged_with_its_place_and_without_its_message"],
            },
        ],
    },
    Case {
        number: 82,
        name: "log-canaries",
        what: "Requests carry marked secrets, bodies and names of persons: none of the marks \
               appears in a log, at any log level.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["no_canary_is_logged_at_the_finest_level"],
            },
            Proof::Faults {
                pairs: BOTH,
                fast: true,
                faults: &[KillWorker],
            },
        ],
    },
    Case {
        number: 83,
        name: "two-versions",
        what: "Ingest and workers of this version and of the previous version run side by side on \
            the same servers: no event is lost or doubled.",
        proofs: &[Proof::Versions],
    },
    Case {
        number: 84,
        name: "soak",
        what: "All faults are drawn at random, one or two at a time, under load, for as long as \
            requested: no event is lost or doubled.",
        proofs: &[Proof::Soak],
    },
];
