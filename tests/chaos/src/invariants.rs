//! What always holds, and what checks that it does.

/// An invariant.
pub struct Invariant {
    /// From 1.
    pub number: u8,
    pub what: &'static str,
    /// Files that report it by its number when it does not hold.
    files: &'static [&'static str],
    /// Tests that fail when it does not hold.
    tests: &'static [&'static str],
}

impl Invariant {
    /// As the report names what checks it.
    pub fn checked(&self) -> String {
        let names = self.files.iter().chain(self.tests);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }
}

const CHECKER: &str = "tests/chaos/src/checker.rs";
const SIMULATION: &str = "tests/simulation/src/check.rs";

/// All of them, by number.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        number: 1,
        what: "What was answered 200 has its effect, a dead letter, or a row that says why not.",
        files: &[CHECKER, SIMULATION],
        tests: &[],
    },
    Invariant {
        number: 2,
        what: "At rest nothing waits anywhere, and no event has both an effect and a dead letter.",
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
        what: "Every effect is of a body that verified, byte for byte.",
        files: &[CHECKER, SIMULATION],
        tests: &[],
    },
    Invariant {
        number: 5,
        what: "A 200 comes after the confirm of every route's queue.",
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
        what: "An acknowledgement covers only its own message, on its own channel.",
        files: &[],
        tests: &[
            "acks_in_any_order_settle_their_own_message",
            "settling_after_a_lost_connection_is_a_fault_not_a_panic",
        ],
    },
    Invariant {
        number: 8,
        what: "What is unknown is neither success nor failure: redelivery decides.",
        files: &[],
        tests: &[
            "a_commit_whose_reply_is_lost_is_a_fault_and_redelivery_decides",
            "a_lost_confirm_is_not_ok_although_the_message_is_there",
        ],
    },
    Invariant {
        number: 9,
        what: "Faults of our own cost no attempt, and dead-letter nothing.",
        files: &[CHECKER, SIMULATION],
        tests: &[],
    },
    Invariant {
        number: 10,
        what: "A dead letter has its reason, its attempts and its body, once for each event.",
        files: &[CHECKER, SIMULATION],
        tests: &["exhaustion_dead_letters_once_and_a_replay_succeeds_once"],
    },
    Invariant {
        number: 11,
        what: "A failure and what follows from it are one transaction.",
        files: &[],
        tests: &["a_failed_attempt_and_its_retry_appear_together_and_count_once"],
    },
    Invariant {
        number: 12,
        what: "One task publishes on a channel, one round at a time.",
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
        what: "Threads, open files, memory and messages in flight stay within their bounds.",
        files: &["tests/chaos/src/used.rs"],
        tests: &[
            "bodies_in_memory_are_bounded_and_given_back",
            "prefetch_bounds_messages_in_flight",
        ],
    },
    Invariant {
        number: 15,
        what: "After the last fault everything drains, and every outage is shown while it lasts.",
        files: &[
            "tests/chaos/src/answers.rs",
            "tests/chaos/src/world/rest.rs",
            "tests/simulation/src/run.rs",
        ],
        tests: &["a_frozen_postgres_costs_nothing"],
    },
    Invariant {
        number: 16,
        what: "Clocks decide about time stamps and delays, never about what is done.",
        files: &[],
        tests: &["clocks_that_are_a_day_off_and_jump_change_nothing"],
    },
    Invariant {
        number: 17,
        what: "What is known of an event is kept longer than its provider retries.",
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
        what: "No secret, signature or payload in a log, a label or a response.",
        files: &[CHECKER],
        tests: &["no_canary_is_logged_at_the_finest_level"],
    },
    Invariant {
        number: 20,
        what: "The same seed and build are the same simulated run.",
        files: &[],
        tests: &["a_seed_repeats_itself_exactly"],
    },
];

#[cfg(test)]
mod tests;
