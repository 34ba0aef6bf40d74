//! The fault cases between ingest and the broker.

use crate::case::{Case, Proof};
use crate::fault::Fault::{
    BlockBroker, CutBody, CutPublish, FreezeBroker, KillBroker, KillIngest, LoseConfirms,
    LosePublishes,
};

use crate::pair::{BOTH, SERVERS};

pub(super) const CASES: &[Case] = &[
    Case {
        number: 1,
        name: "ingest-killed-before-publish",
        what: "Ingest is killed before it publishes: no request was answered 200, and no receipt \
            is counted as accepted.",
        proofs: &[Proof::Crashes(&[
            "ingest.after_verify",
            "ingest.before_publish",
        ])],
    },
    Case {
        number: 2,
        name: "ingest-killed-before-confirm",
        what: "Ingest is killed after it published and before the confirm: the sender sees an \
            error, and its retry has no second effect.",
        proofs: &[Proof::Crashes(&[
            "rabbitmq.before_confirm",
            "sqlite.before_publish_commit",
        ])],
    },
    Case {
        number: 3,
        name: "ingest-killed-after-confirm",
        what: "Ingest is killed after the confirm and before the response: the sender sees an \
            error, and its retry has no second effect.",
        proofs: &[Proof::Crashes(&[
            "rabbitmq.after_confirm",
            "sqlite.after_publish_commit",
            "ingest.after_publish",
        ])],
    },
    Case {
        number: 4,
        name: "ingest-killed-mid-response",
        what: "Ingest is killed while it sends a response: the event is stored, whatever the \
            sender received.",
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
        what: "The broker is killed while publishes are in flight: their requests are answered \
            503, and every event that was answered 200 survives the restart.",
        proofs: &[Proof::Faults {
            pairs: SERVERS,
            fast: true,
            faults: &[KillBroker],
        }],
    },
    Case {
        number: 6,
        name: "broker-frozen",
        what: "The broker is frozen for seconds and then resumes: requests are answered 503 at \
            the confirm deadline, and no thread or connection leaks.",
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
        what: "The broker is frozen before ingest connects: ingest makes a limited number of \
            attempts to connect, and no thread leaks.",
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
        what: "The broker is killed repeatedly under load: no event is lost, and memory, threads \
            and files do not grow.",
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
        what: "The broker's confirms are lost: requests are answered 503, the sender's retry is \
            accepted, and duplicates are detected. Only one queue does not confirm: the messages \
            of other queues are confirmed, and the connection stays (H7).",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[LoseConfirms(5_000)],
            },
            Proof::Tests {
                package: "hookbox-driver-rabbitmq",
                filters: &[
                    "a_lost_confirm_is_not_ok_although_the_message_is_there",
                    "a_queue_that_never_confirms_delays_no_other_queue",
                ],
            },
        ],
    },
    Case {
        number: 10,
        name: "publishes-lost",
        what: "Publishes are lost on a half-open connection: requests are answered 503 by the \
            deadline, and the connection is rebuilt.",
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
        what: "The connection breaks in the middle of a publish, in its first frame or in a body: \
            the connection is rebuilt, and no partial message is ever delivered.",
        proofs: &[Proof::Faults {
            pairs: SERVERS,
            fast: true,
            faults: &[CutPublish, CutBody],
        }],
    },
    Case {
        number: 12,
        name: "queue-missing",
        what: "A queue is deleted while ingest runs: a publish to this queue is never reported as \
            accepted (H2, H5).",
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
        what: "A batch holds a message for a queue that exists and one for a queue that does not \
               exist: the request of the second message is never answered 200.",
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
        what: "The broker rejects some of many publishes that run at the same time: no request \
               whose message was rejected is answered 200, although confirms on a shared channel \
               can be mixed up.",
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
        what: "A full queue rejects publishes: rejected events are answered 503, and accepted \
            ones have one effect.",
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
        what: "A queue has other arguments, another type, or a policy that hookbox did not set: \
            ingest refuses to use it, reports the difference and changes nothing.",
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
        what: "The broker raises a memory or disk alarm: requests are answered 503 quickly, \
            consumers drain the queues, and publishing resumes automatically.",
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
        what: "The broker's disk is full: requests are answered 503, and after space is freed and \
            the broker restarted, no accepted event is lost.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &["a_full_disk_of_rabbitmq_is_answered_503_and_loses_nothing"],
        }],
    },
    Case {
        number: 19,
        name: "largest-payload",
        what: "A body of exactly the size limit is accepted, a body with one byte more is answered \
            413, and neither of them closes a channel.",
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
        what: "The broker refuses the password, the virtual host or a permission: the refusal is \
            logged without the secret, and hookbox does not retry in a busy loop.",
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
        what: "The broker's certificate is expired, from another authority or for another name: \
            hookbox refuses the connection.",
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
        what: "The broker closes a channel while publishes are in flight on it: the channel is \
            rebuilt, and other channels are not affected.",
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
        what: "Acks, nacks, returns and a lost connection are mixed in every order among \
            concurrent publishes: each publisher gets the result of its own message.",
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
];
