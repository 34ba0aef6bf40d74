//! The fault cases between the broker and the worker.

use crate::case::{Case, Proof};
use crate::fault::Fault::{FreezeWorker, KillWorker};

use crate::pair::BOTH;

pub(super) const CASES: &[Case] = &[
    Case {
        number: 32,
        name: "worker-killed-anywhere",
        what: "A worker is killed at any step from the delivery to the acknowledgement: its event \
            has one effect.",
        proofs: &[
            Proof::Crashes(&["worker."]),
            Proof::Faults {
                pairs: BOTH,
                fast: true,
                faults: &[KillWorker, KillWorker, KillWorker],
            },
        ],
    },
    Case {
        number: 33,
        name: "worker-frozen",
        what: "A worker is frozen for three heartbeats, its messages go to another worker, and it \
            then resumes: each event has one effect.",
        proofs: &[
            Proof::Faults {
                pairs: BOTH,
                fast: true,
                faults: &[FreezeWorker(8_000)],
            },
            Proof::Faults {
                pairs: BOTH,
                fast: false,
                faults: &[FreezeWorker(35_000)],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "events_in_flight_at_a_frozen_worker_are_done_by_another_and_it_resumes",
                ],
            },
        ],
    },
    Case {
        number: 34,
        name: "stale-acknowledgement",
        what: "An acknowledgement that is sent after a reconnect settles no other message.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["settling_after_a_lost_connection_is_a_fault_not_a_panic"],
            },
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &[
                    "a_stale_settlement_never_settles_the_message_that_has_its_tag_now",
                    "after_close_nothing_can_be_taken_or_settled_and_all_is_redelivered",
                ],
            },
            Proof::Simulation,
        ],
    },
    Case {
        number: 35,
        name: "consumer-cancelled",
        what: "The broker cancels a consumer: the worker logs it and subscribes again.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &[
                    "a_deleted_queue_ends_the_subscription_with_a_fault",
                    "auto_recovery_leaves_a_consumer_hanging",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_replaced_queue_is_not_touched_and_a_restored_one_is_consumed"],
            },
        ],
    },
    Case {
        number: 36,
        name: "consumer-timeout",
        what: "A handler runs longer than the broker's consumer timeout: its event has one effect.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &["a_handler_over_the_consumer_timeout_loses_doubles_and_spends_nothing"],
        }],
    },
    Case {
        number: 37,
        name: "delivery-count",
        what: "A message has any delivery count, or none: the worker reads it safely.",
        proofs: &[Proof::Tests {
            package: "hookbox-driver-rabbitmq",
            filters: &[
                "over_the_delivery_limit_a_message_dies_into_the_dead_queue",
                "headers_that_a_publisher_forged_change_nothing",
            ],
        }],
    },
    Case {
        number: 38,
        name: "two-workers-one-message",
        what: "Two workers get the same message at the same time: its event has one effect.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "two_processes_at_once_count_once",
                    "of_two_concurrent_claims_one_is_fresh",
                ],
            },
            Proof::Simulation,
        ],
    },
    Case {
        number: 39,
        name: "duplicates-and-disorder",
        what: "Events arrive twice, late and out of order: each has one effect.",
        proofs: &[
            Proof::Faults {
                pairs: BOTH,
                fast: true,
                faults: &[],
            },
            Proof::Simulation,
        ],
    },
    Case {
        number: 40,
        name: "acknowledgements-in-any-order",
        what: "Messages are acknowledged in any order: each acknowledgement settles its own \
            message, and no channel is closed.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &["acks_in_any_order_settle_their_own_message"],
        }],
    },
    Case {
        number: 41,
        name: "prefetch-bounds-memory",
        what: "The prefetch limits how many messages are in flight and how much memory a worker \
            uses.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &[
                "a_workers_memory_is_bounded_by_its_prefetch",
                "prefetch_bounds_messages_in_flight",
                "messages_beyond_the_prefetch_go_to_another_consumer",
            ],
        }],
    },
    Case {
        number: 42,
        name: "handler-always-fails",
        what: "A handler fails on every attempt at an event: after the configured attempts the \
            event is one dead letter, and other events are processed meanwhile.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &[
                "events_that_always_fail_delay_no_other_on_rabbitmq_and_postgres",
                "events_that_always_fail_delay_no_other_on_sqlite",
                "what_always_fails_is_shown_fixed_and_replayed",
            ],
        }],
    },
    Case {
        number: 43,
        name: "handler-kills-the-process",
        what: "A handler ends its process each time it runs: after a limited number of starts its \
               event is quarantined (it becomes a dead letter that no worker runs again), and all \
               other events are processed.",
        proofs: &[
            Proof::Crashes(&["worker.mid_handler"]),
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "only_the_event_that_ends_its_process_is_quarantined_on_rabbitmq_and_postgres",
                    "only_the_event_that_ends_its_process_is_quarantined_on_sqlite",
                ],
            },
        ],
    },
    Case {
        number: 44,
        name: "strange-bodies",
        what: "Signed bodies hold arbitrary bytes: each is accepted once and stored byte for byte.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-ingest",
                filters: &[
                    "a_body_that_is_not_json_is_identified_by_its_bytes",
                    "a_repeated_key_identifies_nothing",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "strange_bodies_are_kept_as_they_came_on_rabbitmq_and_postgres",
                    "strange_bodies_are_kept_as_they_came_on_sqlite",
                    "bytes_survive_exactly",
                ],
            },
        ],
    },
    Case {
        number: 45,
        name: "retry-killed",
        what: "A worker is killed after it recorded a retry and before it acknowledged the \
            message: there is one retry and one effect.",
        proofs: &[Proof::Crashes(&["scheduler.", "worker.after_record"])],
    },
    Case {
        number: 46,
        name: "dead-letter-killed",
        what: "A worker is killed after it stored a dead letter and before it acknowledged the \
            message: there is one dead letter.",
        proofs: &[
            Proof::Crashes(&["worker.before_record", "worker.after_record"]),
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_failure_recorded_twice_counts_once",
                    "a_failure_cut_anywhere_is_whole_or_nothing",
                ],
            },
        ],
    },
    Case {
        number: 47,
        name: "ladder-order",
        what: "Retries with long and with short delays wait at the same time: a retry with a short \
            delay does not wait for one with a long delay.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_retry_is_not_due_early", "a_retry_comes_when_it_is_due"],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_retry_is_not_due_early"],
            },
        ],
    },
    Case {
        number: 48,
        name: "forged-headers",
        what: "A publisher forges headers that only the broker should set: hookbox ignores them.",
        proofs: &[Proof::Tests {
            package: "hookbox-driver-rabbitmq",
            filters: &[
                "a_forged_death_header_neither_names_a_queue_nor_affects_other_messages",
                "headers_that_a_publisher_forged_change_nothing",
            ],
        }],
    },
    Case {
        number: 49,
        name: "replayed-twice",
        what: "A dead letter is replayed twice: its event has at most one effect.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &[
                    "a_replayed_dead_letter_has_a_fresh_round",
                    "a_retry_that_is_published_twice_is_granted_once",
                ],
            },
            Proof::Crashes(&["ledger."]),
        ],
    },
];
