//! The fault cases between the worker and PostgreSQL.

use crate::case::{Case, Proof};
use crate::fault::Fault::{
    CommitDropped, CommitUnanswered, FreezeWorker, KillPostgres, LockStore, StoreHole,
    TerminateBackends,
};

use crate::pair::SERVERS;

pub(super) const CASES: &[Case] = &[
    Case {
        number: 50,
        name: "backends-terminated",
        what: "PostgreSQL ends sessions that have an open transaction: the worker runs the \
               events of these transactions again, each event has one effect, and no event loses \
               an attempt.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[TerminateBackends, TerminateBackends, TerminateBackends],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "killed_processes_of_postgres_cost_nothing",
                    "a_unit_of_work_cut_anywhere_has_one_effect",
                ],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_lost_connection_is_unavailable_and_the_next_begin_works"],
            },
        ],
    },
    Case {
        number: 51,
        name: "postgres-killed",
        what: "PostgreSQL is killed under load: routes pause, no event is lost, and none becomes \
            a dead letter.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[KillPostgres],
            },
            Proof::Faults {
                pairs: SERVERS,
                fast: false,
                faults: &[
                    KillPostgres,
                    KillPostgres,
                    KillPostgres,
                    KillPostgres,
                    KillPostgres,
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_killed_postgres_costs_nothing"],
            },
        ],
    },
    Case {
        number: 52,
        name: "commit-unanswered",
        what: "COMMIT reaches PostgreSQL and its answer is lost: the redelivered event is found \
            done and is not processed again.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[CommitUnanswered, CommitUnanswered],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_commit_whose_reply_is_lost_is_a_fault_and_redelivery_decides"],
            },
        ],
    },
    Case {
        number: 53,
        name: "commit-dropped",
        what: "COMMIT does not reach PostgreSQL: the event is processed again.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[CommitDropped, CommitDropped],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_commit_that_is_lost_is_a_fault_and_the_event_runs_again"],
            },
        ],
    },
    Case {
        number: 54,
        name: "postgres-black-hole",
        what: "PostgreSQL is unresponsive for a while: every slot of the connection pool recovers \
            (H10).",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[StoreHole(8_000)],
            },
            Proof::Faults {
                pairs: SERVERS,
                fast: false,
                faults: &[StoreHole(60_000)],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["an_unresponsive_network_is_detected_and_every_slot_recovers"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_black_hole_before_postgres_costs_nothing",
                    "a_black_hole_longer_than_the_time_limit_costs_no_attempt",
                ],
            },
        ],
    },
    Case {
        number: 55,
        name: "zombie-transaction",
        what: "A worker is frozen in the middle of its transaction, and another worker gets its \
            message: the event has one effect.",
        proofs: &[
            Proof::Faults {
                pairs: SERVERS,
                fast: true,
                faults: &[FreezeWorker(4_000), LockStore(4_000), FreezeWorker(4_000)],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_worker_that_is_cut_off_makes_another_wait_and_loses_its_claim"],
            },
        ],
    },
    Case {
        number: 56,
        name: "deadlocks",
        what: "Handlers that lock rows in opposite orders do not deadlock, and after an injected \
            deadlock the handler runs again.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &[
                    "opposite_orders_do_not_deadlock",
                    "a_deadlock_between_handlers_is_contention",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_deadlock_and_a_failed_serialization_of_handlers_cost_no_attempt"],
            },
        ],
    },
    Case {
        number: 57,
        name: "swallowed-error",
        what: "A handler hides an SQL error and reports success: its transaction is not committed \
            (H9).",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_swallowed_error_is_no_commit"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["panics_time_limits_and_broken_transactions_are_failures"],
            },
        ],
    },
    Case {
        number: 58,
        name: "cancelled-anywhere",
        what: "A transaction is cancelled at any await: its connection poisons no other \
            transaction (H8), and no committed write is lost.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &[
                    "a_cancelled_begin_affects_no_other_transaction",
                    "a_cancelled_claim_affects_no_other_transaction",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_cancelled_unit_of_work_affects_no_other"],
            },
            Proof::Simulation,
        ],
    },
    Case {
        number: 59,
        name: "handler-timeout",
        what: "A handler exceeds its time limit: its query is ended and its connection closed.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-sqlite",
                filters: &["an_endless_statement_ends_with_its_transaction"],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_rollback_that_gets_no_answer_ends"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_statement_over_the_time_limit_is_ended_and_counts",
                    "panics_time_limits_and_broken_transactions_are_failures",
                ],
            },
        ],
    },
    Case {
        number: 60,
        name: "postgres-disk-full",
        what: "PostgreSQL's disk is full: routes pause and later resume, and no event becomes a \
            dead letter.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &[
                "a_full_disk_of_postgres_costs_nothing",
                "a_full_disk_of_postgress_log_costs_nothing",
            ],
        }],
    },
    Case {
        number: 61,
        name: "connections-exhausted",
        what: "PostgreSQL has no free connection: routes pause, and no attempt is spent.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["connections_are_bounded_and_come_back"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_postgres_without_a_free_slot_costs_nothing"],
            },
        ],
    },
    Case {
        number: 62,
        name: "pooler",
        what: "A connection pooler lends a session for one transaction only: hookbox refuses to \
               use the pooler. The schema changes under load: the affected work is tried again. \
               Neither fault costs an event an attempt.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &[
                "a_pooler_that_lends_sessions_for_transactions_is_refused",
                "a_pooler_whose_mode_changes_under_load_costs_nothing",
                "a_pooler_that_is_paused_under_load_gets_its_sessions_back_and_costs_nothing",
                "a_pooler_that_is_stopped_gets_the_sessions_of_an_idle_worker_back",
                "a_schema_that_changes_under_load_costs_nothing",
                "a_statement_that_the_session_has_already_costs_no_attempt",
            ],
        }],
    },
    Case {
        number: 63,
        name: "read-only",
        what: "PostgreSQL is read-only: hookbox refuses to use it.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["a_read_only_database_is_refused"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "a_postgres_that_becomes_a_standby_costs_nothing",
                    "a_failover_that_loses_the_tail_is_listed_as_far_as_known",
                ],
            },
        ],
    },
    Case {
        number: 64,
        name: "unsafe-server",
        what: "PostgreSQL is configured so that it may lose commits: hookbox refuses to use it.",
        proofs: &[
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &[
                    "a_server_that_loses_commits_is_refused",
                    "a_commit_that_would_not_be_durable_is_refused",
                ],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_server_that_does_not_keep_what_it_committed_is_refused"],
            },
        ],
    },
    Case {
        number: 65,
        name: "retention",
        what: "A duplicate arrives years after its event: it is still detected, because hookbox \
            never deletes a claim by itself.",
        proofs: &[Proof::Tests {
            package: "hookbox-tests",
            filters: &[
                "a_duplicate_after_three_years_is_one_on_rabbitmq_and_postgres",
                "a_duplicate_after_three_years_is_one_on_sqlite",
            ],
        }],
    },
    Case {
        number: 66,
        name: "clocks",
        what: "The clocks of processes are wrong by a day: leases and delays follow the clock of \
            the database.",
        proofs: &[
            Proof::Simulation,
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["clocks_that_are_a_day_off_and_jump_change_nothing"],
            },
            Proof::Tests {
                package: "hookbox-driver-sqlite",
                filters: &["a_lease_from_another_clock_is_none"],
            },
        ],
    },
    Case {
        number: 67,
        name: "migration-killed",
        what: "A migration is killed at any step, or two run at once: the schema ends up complete.",
        proofs: &[
            Proof::Crashes(&["migrate.", "postgres.between_migrations"]),
            Proof::Tests {
                package: "hookbox-tests",
                filters: &[
                    "of_migrators_at_once_one_migrates_and_all_are_content",
                    "a_migrator_killed_at_any_step_is_followed_by_one_that_finishes",
                ],
            },
            Proof::Tests {
                package: "hookbox-driver-postgres",
                filters: &["two_migrators_at_once_do_it_once"],
            },
            Proof::Tests {
                package: "hookbox-driver-sqlite",
                filters: &["two_that_migrate_at_once_agree"],
            },
        ],
    },
];
