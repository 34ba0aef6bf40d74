//! The fault cases of the handlers that a user configures: `sql`, `forward` and `publish`.

use crate::case::{Case, Proof};
use crate::pair::BOTH;
use crate::target_outage::target_outage;
use crate::worker_kills::worker_kills;

pub(super) const CASES: &[Case] = &[
    Case {
        number: 85,
        name: "user-routes-killed",
        what: "A worker is killed repeatedly while events go through the handlers `sql`, \
            `forward` and `publish`: an event has one effect by `sql`, and arrives by `forward` \
            and `publish` at least once, each time with the same idempotency key, the same body \
            and a higher epoch.",
        proofs: &[
            Proof::Crashes(&["effect."]),
            Proof::Scenario {
                pairs: BOTH,
                fast: true,
                is_parallel: true,
                run: worker_kills,
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_killed_worker_has_its_calls_repeated_on_rabbitmq_and_postgres",
                    "a_killed_worker_has_its_calls_repeated_on_sqlite",
                    "a_confirmed_message_is_published_again_on_rabbitmq_and_postgres",
                    "a_confirmed_message_is_published_again_on_sqlite",
                    "a_lease_that_ended_is_granted_under_a_higher_epoch",
                    "a_lease_cut_anywhere_is_whole_or_nothing",
                    "the_end_of_a_call_cut_anywhere_is_whole_or_nothing",
                ],
            },
            Proof::Tests {
                package: "hookbox-worker",
                filters: &[
                    "the_call_of_a_process_that_died_is_made_again_when_its_lease_ends",
                    "an_event_that_kills_each_process_is_lost_after_a_few_leases",
                    "a_late_success_of_an_older_call_ends_the_event",
                    "a_late_failure_of_an_older_call_changes_nothing",
                ],
            },
            Proof::Simulation,
        ],
    },
    Case {
        number: 86,
        name: "target-down",
        what: "The target of the handler `forward` is down for a while, then slow, and then asks \
            for pauses: no event loses an attempt, every event arrives, and other routes process \
            their events meanwhile.",
        proofs: &[
            Proof::Scenario {
                pairs: BOTH,
                fast: true,
                is_parallel: true,
                run: target_outage,
            },
            Proof::Tests {
                package: "hookbox-worker",
                filters: &[
                    "while_the_breaker_is_open_messages_stay_in_the_queue_and_neighbours_continue",
                    "a_breaker_is_shared_by_workers",
                    "a_target_is_probed_with_a_single_message_in_flight",
                    "a_busy_target_costs_no_attempt_and_is_left_alone_for_as_long_as_it_asks",
                    "events_wait_in_the_store_for_a_long_pause",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_service_that_is_down_for_all_costs_no_attempt_on_rabbitmq_and_postgres",
                    "a_service_that_is_down_for_all_costs_no_attempt_on_sqlite",
                    "one_call_probes_a_target_that_was_down",
                    "calls_in_flight_are_limited_across_workers",
                ],
            },
            Proof::Simulation,
        ],
    },
    Case {
        number: 87,
        name: "target-misbehaves",
        what: "A target of the handler `forward` refuses connections, does not answer, sends an \
            endless body, redirects, or has a wrong certificate or a private address: each call \
            ends within its time limits, and the target's answer decides the outcome of the \
            event.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-forward",
                filters: &[
                    "a_refused_connection_is_the_targets_fault",
                    "a_machine_that_does_not_answer_meets_the_limit_of_the_connection",
                    "a_handshake_that_does_not_begin_meets_the_limit_of_the_connection",
                    "a_service_that_never_answers_meets_the_limit_of_the_first_byte",
                    "no_call_takes_longer_than_the_limit_of_the_whole_call",
                    "an_endless_body_is_not_read_to_its_end",
                    "a_redirect_is_not_followed",
                    "an_answer_that_is_not_http_is_a_failure",
                    "a_wrong_certificate_is_refused_before_anything_is_sent",
                    "a_name_that_leads_to_a_private_address_is_refused",
                    "each_connection_goes_to_the_address_that_was_checked_for_it",
                    "a_busy_service_says_when_to_call_again",
                    "a_status_decides_what_follows",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "the_answer_decides_what_becomes_of_an_event",
                    "a_service_that_must_not_be_called_is_refused_before_anything_is_sent",
                ],
            },
        ],
    },
];
