//! From ingest to the broker.

use crate::case::{Case, Proof};
use crate::fault::Fault::{
    BlockBroker, CutBody, CutPublish, FreezeBroker, KillBroker, KillIngest, LoseConfirms,
    LosePublishes,
};
use crate::spool::{full_spool, spool};

use crate::pair::{BOTH, SERVERS};

pub(super) const CASES: &[Case] = &[
    Case {
        number: 1,
        name: "ingest-killed-before-publish",
        what: "Killed before the publish: no 200 was sent, nothing is counted as \
            accepted.",
        proofs: &[Proof::Crashes(&[
            "ingest.after_verify",
            "ingest.before_publish",
        ])],
    },
    Case {
        number: 2,
        name: "ingest-killed-before-confirm",
        what: "Killed after the publish, before the confirm: an error, and no double.",
        proofs: &[Proof::Crashes(&[
            "rabbitmq.before_confirm",
            "sqlite.before_publish_commit",
        ])],
    },
    Case {
        number: 3,
        name: "ingest-killed-after-confirm",
        what: "Killed after the confirm, before the answer: as before.",
        proofs: &[Proof::Crashes(&[
            "rabbitmq.after_confirm",
            "sqlite.after_publish_commit",
            "ingest.after_publish",
        ])],
    },
    Case {
        number: 4,
        name: "ingest-killed-mid-response",
        what: "Killed when the answer is known: the event is there, whatever the \
            client saw.",
        proofs: &[
            Proof::Crashes(&["ingest.before_response"]),
            Proof::Faults {
                pairs: BOTH,
                fast: true,
                faults: &[KillIngest, KillIngest],
            },
        ],
    },
    Case {
        number: 5,
        name: "broker-killed",
        what: "Broker killed with publishes in flight: 503, and every 200 survives \
            its restart.",
        proofs: &[Proof::Faults {
            pairs: SERVERS,
            fast: true,
            faults: &[KillBroker],
        }],
    },
    Case {
        number: 6,
        name: "broker-frozen",
        what: "Broker stopped for seconds, then continued: 503 at the confirm \
            deadline, nothing leaks.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[FreezeBroker(5_000)],
            },
            Proof::Faults {
                pairs: SERVERS,
                fast: false,
                faults: &[FreezeBroker(60_000)],
            },
        ],
    },
    Case {
        number: 7,
        name: "broker-frozen-at-start",
        what: "Broker stopped before ingest connects: bounded attempts, no thread \
            leaks.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &["an_unresponsive_broker_times_out_and_costs_no_thread"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_frozen_rabbitmq_is_waited_for_at_the_start"],
            },
        ],
    },
    Case {
        number: 8,
        name: "broker-restart-loop",
        what: "Broker killed again and again under load: nothing lost, no growth.",
        proofs: &[Proof::Faults {
            pairs: SERVERS,
            fast: false,
            faults: &[
                KillBroker, KillBroker, KillBroker, KillBroker, KillBroker, KillBroker,
            ],
        }],
    },
    Case {
        number: 9,
        name: "confirms-lost",
        what: "Confirms vanish: 503, the events are recovered, duplicates are detected.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[LoseConfirms(5_000)],
            },
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &["a_lost_confirm_is_not_ok_although_the_message_is_there"],
            },
        ],
    },
    Case {
        number: 10,
        name: "publishes-lost",
        what: "Publishes vanish on a half-open connection: 503 by the deadline, rebuilt.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[LosePublishes(5_000)],
            },
            Proof::Faults {
                pairs: SERVERS,
                fast: false,
                faults: &[LosePublishes(25_000)],
            },
        ],
    },
    Case {
        number: 11,
        name: "publish-cut",
        what: "The connection breaks in the middle of a publish, of its first frame or of a \
            body: rebuilt, no half message is ever seen.",
        proofs: &[Proof::Faults {
            pairs: SERVERS,
            fast: true,
            faults: &[CutPublish, CutBody],
        }],
    },
    Case {
        number: 12,
        name: "queue-missing",
        what: "A queue is gone at run time: never a clean confirm (H2).",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &[
                    "a_deleted_queue_is_never_ok",
                    "a_queue_that_is_deleted_or_replaced_is_named_within_five_seconds",
                    "a_deleted_queue_acknowledges_what_it_never_took",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_policy_and_a_deletion_are_named_and_nothing_is_accepted"],
            },
        ],
    },
    Case {
        number: 13,
        name: "routable-and-not",
        what: "Routable and unroutable in one batch: what is unroutable is never \
            accepted.",
        proofs: &[Proof::Tests {
            package: "hookbox-driver-rabbitmq",
            filters: &[
                "among_thousands_of_good_messages_no_unroutable_one_is_ever_ok",
                "a_return_sticks_to_another_message",
                "of_a_batch_for_two_queues_one_missing_is_not_ok",
            ],
        }],
    },
    Case {
        number: 14,
        name: "nacks-beside-confirms",
        what: "Many publishes at once, some nacked: none of those is accepted (H1).",
        proofs: &[
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_refusing_queue_is_never_reported_as_accepted",
                    "a_rejected_publish_is_never_reported_as_accepted",
                ],
            },
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &["confirms_of_a_shared_channel_are_swapped"],
            },
            Proof::Simulation,
        ],
    },
    Case {
        number: 15,
        name: "queue-full",
        what: "A full queue rejects: 503 for what is over, once for what was \
            accepted.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &[
                "what_a_full_queue_rejects_drops_or_takes_with_it_is_reported",
                "a_refusing_queue_is_never_reported_as_accepted",
            ],
        }],
    },
    Case {
        number: 16,
        name: "queue-as-other",
        what: "A queue with other arguments, of another type, or under a policy of \
            others: refused with the difference, nothing is changed.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &[
                    "another_delivery_limit_is_reported_and_nothing_is_changed",
                    "a_classic_queue_is_reported",
                    "a_queue_that_is_deleted_or_replaced_is_named_within_five_seconds",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_replaced_queue_is_not_touched_and_a_restored_one_is_consumed",
                    "what_a_full_queue_rejects_drops_or_takes_with_it_is_reported",
                    "a_policy_and_a_deletion_are_named_and_nothing_is_accepted",
                ],
            },
        ],
    },
    Case {
        number: 17,
        name: "resource-alarm",
        what: "Memory or disk alarm: 503 fast, consumers drain, recovery by itself.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[BlockBroker(6_000)],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["an_alarm_of_rabbitmq_is_shown_for_as_long_as_it_lasts"],
            },
        ],
    },
    Case {
        number: 18,
        name: "broker-disk-full",
        what: "The broker's disk is full: 503, and after space and a restart \
            everything accepted is there.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &["a_full_disk_of_rabbitmq_is_answered_503_and_loses_nothing"],
        }],
    },
    Case {
        number: 19,
        name: "largest-payload",
        what: "A body of the limit, and one byte over: 413, and never a closed \
            channel.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-ingest",
                filters: &[
                    "a_body_may_be_as_long_as_the_limit",
                    "chunks_just_over_the_limit_are_answered_413",
                ],
            },
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &["a_batch_over_the_in_flight_limit_is_published_by_itself"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "the_largest_body_goes_through_and_one_byte_more_is_answered_413",
                    "a_broker_that_accepts_less_is_logged_and_accepts_the_rest",
                ],
            },
        ],
    },
    Case {
        number: 20,
        name: "wrong-credentials",
        what: "Wrong password, host or permission: logged without the secret, no busy loop.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &["a_wrong_password_is_refused_and_not_shown"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_wrong_password_or_virtual_host_is_logged_and_publishing_resumes",
                    "a_revoked_permission_is_logged_and_publishing_resumes",
                ],
            },
        ],
    },
    Case {
        number: 21,
        name: "broker-tls",
        what: "Expired certificate, wrong authority, wrong name: refused.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &[
                "a_certificate_that_is_renewed_under_load_costs_nothing",
                "only_the_right_certificate_of_a_broker_is_taken",
            ],
        }],
    },
    Case {
        number: 22,
        name: "channel-closed",
        what: "The broker closes a channel with publishes on it: rebuilt, neighbours \
            continue.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &[
                    "what_the_broker_closes_under_64_publishes_accepts_nothing_that_is_not_there",
                    "subscribing_to_a_missing_queue_is_a_fault_and_harms_no_neighbour",
                    "a_deleted_queue_is_never_ok",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_broker_that_accepts_less_is_logged_and_accepts_the_rest"],
            },
        ],
    },
    Case {
        number: 23,
        name: "confirms-in-every-mix",
        what: "Ack, nack, return and a lost connection at each position of a round.",
        proofs: &[
            Proof::Simulation,
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &[
                    "every_mix_of_confirms_is_reported_once_to_each_publisher",
                    "a_publish_without_an_outcome_is_never_accepted",
                ],
            },
        ],
    },
    Case {
        number: 24,
        name: "spool",
        what: "Broker unavailable, ingest killed five times meanwhile: everything answered \
            200 has its effect.",
        proofs: &[
            Proof::Crashes(&["spool."]),
            Proof::Scenario {
                pairs: SERVERS,
                fast: true,
                run: spool,
            },
            Proof::Scenario {
                pairs: SERVERS,
                fast: false,
                run: full_spool,
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_full_disk_of_the_spool_is_answered_503_and_loses_nothing",
                    "a_message_that_rabbitmq_never_takes_delays_no_other",
                    "one_process_uses_a_spool_and_all_its_routes_are_known",
                    "a_spool_that_is_locked_is_waited_for_and_a_wrong_one_is_refused",
                ],
            },
            Proof::Tests {
                package: "hookbox-ingest",
                filters: &[
                    "it_empties_while_events_come_faster_than_confirms_and_keeps_their_order",
                    "it_empties_under_the_largest_load_there_is",
                    "a_message_that_is_too_large_for_the_broker_lets_the_others_past_and_is_kept",
                    "what_is_on_its_way_when_keeping_begins_is_kept_first",
                ],
            },
        ],
    },
];
