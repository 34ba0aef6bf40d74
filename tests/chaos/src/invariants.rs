//! The invariants: what must always hold, and what checks each of them.

/// A statement that must always hold.
pub struct Invariant {
    /// The number of the invariant, from 1.
    pub number: u8,
    pub what: &'static str,
    /// The files whose code reports a violation of this invariant, by its number.
    files: &'static [&'static str],
    /// The tests that fail when the invariant does not hold.
    tests: &'static [&'static str],
}

impl Invariant {
    /// Returns the files and tests that check the invariant, as docs/FAULTS.md names them.
    pub fn checked(&self) -> String {
        let names = self.files.iter().chain(self.tests);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }
}

const CHECKER: &str = "tests/chaos/src/checker.rs";
const SIMULATION: &str = "tests/simulation/src/check.rs";

/// All invariants in order of their numbers.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        number: 1,
        what: "An event answered 200 has its effect, a dead letter, or a row with the \
            reason why it has neither.",
        files: &[CHECKER, SIMULATION],
        tests: &[],
    },
    Invariant {
        number: 2,
        what: "When no work is left, no event has both an effect and a dead letter.",
        files: &[CHECKER, SIMULATION, "tests/chaos/src/world/rest.rs"],
        tests: &[],
    },
    Invariant {
        number: 3,
        what: "No event has two effects.",
        files: &[CHECKER, SIMULATION, "tests/chaos/src/soak.rs"],
        tests: &[],
    },
    Invariant {
        number: 4,
        what: "Every effect is of a body whose signature was verified, byte for byte.",
        files: &[CHECKER, SIMULATION],
        tests: &[],
    },
    Invariant {
        number: 5,
        what: "A 200 is sent only after the queue of every route has confirmed the event.",
        files: &["tests/simulation/src/sender.rs"],
        tests: &["a_refusing_queue_is_never_reported_as_accepted"],
    },
    Invariant {
        number: 6,
        what: "A message is acknowledged only when each envelope in it has its outcome.",
        files: &["tests/simulation/src/delivery.rs"],
        tests: &[],
    },
    Invariant {
        number: 7,
        what: "An acknowledgement settles only its own message, on its own channel.",
        files: &[],
        tests: &[
            "acks_in_any_order_settle_their_own_message",
            "settling_after_a_lost_connection_is_a_fault_not_a_panic",
        ],
    },
    Invariant {
        number: 8,
        what: "An operation whose result is unknown counts neither as a success nor as a failure: \
            the redelivery of the message decides.",
        files: &[],
        tests: &[
            "a_commit_whose_reply_is_lost_is_a_fault_and_redelivery_decides",
            "a_lost_confirm_is_not_ok_although_the_message_is_there",
        ],
    },
    Invariant {
        number: 9,
        what: "A fault of a dependency costs an event no attempt and makes no dead letter.",
        files: &[CHECKER, SIMULATION],
        tests: &[],
    },
    Invariant {
        number: 10,
        what: "An event has at most one dead letter on each route, with its reason, its attempts \
            and its body.",
        files: &[CHECKER, SIMULATION],
        tests: &["exhaustion_dead_letters_once_and_a_replay_succeeds_once"],
    },
    Invariant {
        number: 11,
        what: "A failure and the retry or dead letter after it are written in one transaction.",
        files: &[],
        tests: &["a_failed_attempt_and_its_retry_appear_together_and_count_once"],
    },
    Invariant {
        number: 12,
        what: "Only one task publishes on a channel of the broker. It knows the result of each \
               publish before it sends the next ones, so it never takes one result for another.",
        files: &[],
        tests: &[
            "a_refusing_queue_is_never_reported_as_accepted",
            "confirms_of_a_shared_channel_are_swapped",
        ],
    },
    Invariant {
        number: 13,
        what: "No connection is used again after an error, a cancellation or a time limit.",
        files: &[],
        tests: &[
            "a_cancelled_begin_affects_no_other_transaction",
            "a_cancelled_claim_affects_no_other_transaction",
            "a_cancelled_unit_of_work_affects_no_other",
        ],
    },
    Invariant {
        number: 14,
        what: "Threads, open files, memory and messages in flight stay within their limits.",
        files: &["tests/chaos/src/used.rs"],
        tests: &[
            "bodies_in_memory_are_bounded_and_given_back",
            "prefetch_bounds_messages_in_flight",
        ],
    },
    Invariant {
        number: 15,
        what: "After the last fault all work drains, and every outage is visible while it lasts.",
        files: &[
            "tests/chaos/src/answers.rs",
            "tests/chaos/src/world/rest.rs",
            "tests/simulation/src/run.rs",
        ],
        tests: &["a_frozen_postgres_costs_nothing"],
    },
    Invariant {
        number: 16,
        what: "Clocks decide about timestamps and delays, never about which events are done.",
        files: &[],
        tests: &["clocks_that_are_a_day_off_and_jump_change_nothing"],
    },
    Invariant {
        number: 17,
        what: "hookbox keeps the record of an event for longer than its provider retries the \
            event.",
        files: &[],
        tests: &[
            "a_duplicate_after_three_years_is_one_on_rabbitmq_and_postgres",
            "a_duplicate_after_three_years_is_one_on_sqlite",
        ],
    },
    Invariant {
        number: 18,
        what: "Queues are verified, and never changed or deleted by hookbox itself.",
        files: &[],
        tests: &[
            "another_delivery_limit_is_reported_and_nothing_is_changed",
            "a_policy_and_a_deletion_are_named_and_nothing_is_accepted",
        ],
    },
    Invariant {
        number: 19,
        what: "No log, metric label or response contains a secret, a signature or a body.",
        files: &[CHECKER],
        tests: &["no_canary_is_logged_at_the_finest_level"],
    },
    Invariant {
        number: 20,
        what: "Two simulations with the same seed and the same build run identically.",
        files: &[],
        tests: &["a_seed_repeats_itself_exactly"],
    },
    Invariant {
        number: 21,
        what: "On a route with `newest`, no effect of an older event follows the effect of a newer \
            event of the same key, and an event is stale only if a newer event of its key is done.",
        files: &["tests/simulation/src/newest.rs"],
        tests: &["workers_at_once_leave_the_newest_of_each_key"],
    },
    Invariant {
        number: 22,
        what: "Each external call for an event has the same idempotency key until the event is \
            done and then replayed, and each call has a higher epoch than the call before it.",
        files: &["tests/chaos/src/checker/user_routes.rs"],
        tests: &[
            "a_transient_failure_is_tried_again_with_the_same_key",
            "a_lease_that_ended_is_granted_under_a_higher_epoch",
            "an_epoch_rises_over_replays",
            "only_the_replay_of_a_done_event_has_another_effect",
        ],
    },
];

#[cfg(test)]
mod tests;
