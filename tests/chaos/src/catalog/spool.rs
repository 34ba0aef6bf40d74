//! The fault case in which ingest accepts events into its spool.

use crate::case::{Case, Proof};
use crate::pair::SERVERS;
use crate::spool::{full_spool, spool};

pub(super) const CASES: &[Case] = &[Case {
    number: 24,
    name: "spool",
    what: "Ingest is killed five times while the broker is unavailable: every event that was \
            accepted into the spool and answered 200 has its effect.",
    proofs: &[
        Proof::Crashes(&["spool."]),
        Proof::Scenario {
            pairs: SERVERS,
            fast: true,
            is_parallel: false,
            run: spool,
        },
        Proof::Scenario {
            pairs: SERVERS,
            fast: false,
            is_parallel: false,
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
            package: "hookbox-spool",
            filters: &[
                "it_empties_while_events_come_faster_than_confirms_and_keeps_their_order",
                "it_empties_under_the_largest_load_there_is",
                "a_message_that_is_too_large_for_the_broker_lets_the_others_past_and_is_kept",
                "what_is_on_its_way_when_keeping_begins_is_kept_first",
            ],
        },
    ],
}];
