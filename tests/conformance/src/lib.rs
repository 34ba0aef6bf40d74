//! Every promise of the driver traits as a named test case, which runs on every driver.
//!
//! `crates/driver/src/lib.rs` lists the promises; each is one function here with the same name. The
//! macros make one test per promise and driver, so that a failure reads
//! `postgres::a_rollback_frees_the_claim`. Each case has a new world (a broker or a store with
//! its data), and checks at its end that it leaves nothing behind.
//!
//! Architecture invariant: this crate depends on no driver. Each driver's tests implement the
//! harness traits and pass their harness to the macros.

#![allow(
    missing_docs,
    reason = "the names of the cases are their documentation"
)]

pub mod broker;
mod builders;
mod harness;
mod identities;
pub mod store;

pub use builders::{another_body, envelope, of_number, with_receipt};
pub use harness::{BrokerHarness, Failed, StoreHarness};

/// Makes one test of each named case: `module::case(&world)` in a new world.
#[macro_export]
macro_rules! cases {
    ($harness:ty, $module:ident, $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let world = <$harness>::new().await;
                $crate::$module::$case(&world).await;
                world.finish().await;
            }
        )+
    };
}

/// Makes one test of every promise of a broker.
#[macro_export]
macro_rules! broker_suite {
    ($name:ident, $harness:ty) => {
        mod $name {
            use super::*;
            use $crate::BrokerHarness as _;
            $crate::cases!(
                $harness,
                broker,
                bytes_survive_exactly,
                published_survives_a_restart_of_the_driver,
                publishing_to_nowhere_is_an_error,
                publishing_to_no_route_is_an_error,
                a_batch_for_two_routes_reaches_both,
                a_rejected_publish_is_never_reported_as_accepted,
                a_refusing_queue_is_never_reported_as_accepted,
                publish_without_a_broker_fails_within_its_deadline,
                a_lost_confirm_is_not_an_acceptance,
                acknowledged_is_gone,
                released_is_redelivered,
                dropped_unsettled_is_redelivered,
                unsettled_is_redelivered_after_a_lost_connection,
                settling_after_a_lost_connection_is_a_fault_not_a_panic,
                settling_over_a_severed_connection_is_a_fault,
                a_broken_subscription_ends_with_a_fault,
                prefetch_bounds_messages_in_flight,
                messages_beyond_the_prefetch_go_to_another_consumer,
                cancelling_next_loses_no_message,
                a_message_in_flight_does_not_delay_others,
                acks_in_any_order_settle_their_own_message,
                closing_a_subscription_returns_messages_in_flight,
                depths_count_what_waits,
                an_account_reaches_its_queue,
                the_witness_is_read_and_stays,
                the_newest_witness_outlives_its_readers,
                the_newest_witness_is_seen_by_each_of_many_readers,
                a_broker_of_another_identity_key_is_refused,
                a_broker_with_messages_gets_no_identity_key,
            );
        }
    };
}

/// Makes one test of every promise of a store.
#[macro_export]
macro_rules! store_suite {
    ($name:ident, $harness:ty) => {
        mod $name {
            use super::*;
            use $crate::StoreHarness as _;
            $crate::cases!(
                $harness,
                store,
                the_first_claim_is_fresh,
                the_second_is_a_duplicate,
                another_body_is_a_conflict,
                another_body_is_a_duplicate_where_the_id_decides,
                a_stored_event_is_its_first_body,
                another_body_is_kept_with_a_failure,
                another_body_is_kept_with_a_deferral,
                the_same_receipt_again_is_redelivered,
                claims_are_per_route,
                a_retry_without_a_claim_whose_body_is_not_the_stored_one_is_a_conflict,
                an_event_that_was_stored_before_is_claimed_as_new,
                an_event_keeps_its_number,
                later_events_have_higher_numbers,
                a_rollback_frees_the_claim,
                a_dropped_transaction_rolls_back,
                effects_and_claim_appear_together,
                of_two_concurrent_claims_one_is_fresh,
                opposite_orders_do_not_deadlock,
                a_swallowed_error_is_no_commit,
                a_handler_that_ends_the_transaction_is_detected,
                a_handler_that_rolls_back_is_detected,
                a_handler_that_rolls_back_is_never_run_again,
                an_ended_transaction_is_distinguished_from_an_error,
                a_savepoint_of_the_handlers_is_its_own,
                undone_writes_are_gone_and_claims_stay,
                only_what_follows_the_savepoint_is_undone,
                a_failed_statement_is_undone,
                a_session_is_new_after_an_undo,
                an_ended_transaction_is_not_undone,
                a_withdrawn_event_is_fresh_after_the_commit,
                a_withdrawn_retry_waits_as_before,
                a_withdrawn_claim_is_held_until_the_end,
                an_ended_transaction_withdraws_nothing,
                a_changed_session_is_no_commit,
                a_session_is_new_for_the_next_handler,
                a_session_is_new_after_a_failed_attempt,
                an_event_that_is_older_than_a_done_one_is_stale,
                a_stale_event_is_counted_and_shown,
                only_what_is_done_raises_a_version,
                a_version_that_was_rolled_back_makes_nothing_stale,
                versions_are_compared_by_their_exact_values,
                versions_are_per_key_and_route,
                a_granted_attempt_can_be_stale,
                a_withdrawn_event_raises_no_version,
                a_withdrawn_event_leaves_its_key_as_it_was,
                an_orphan_raises_no_version,
                of_two_concurrent_events_of_one_key_the_older_is_stale,
                of_two_events_of_an_untrusted_handler_the_older_is_stale,
                keys_in_opposite_orders_do_not_deadlock,
                workers_at_once_leave_the_newest_of_each_key,
                one_call_per_key_is_in_flight,
                a_call_that_is_done_raises_its_version,
                a_late_success_frees_no_key_of_a_newer_call,
                a_call_that_failed_frees_its_key,
                a_failed_attempt_and_its_retry_appear_together,
                a_failed_attempt_and_its_dead_letter_appear_together,
                an_orphan_takes_no_other_body,
                an_orphan_outlives_its_process,
                an_orphaned_retry_is_never_run_again,
                a_waiting_claim_sees_how_the_other_ended,
                text_from_outside_is_made_storable,
                a_failure_recorded_twice_counts_once,
                a_retry_is_not_due_early,
                a_retry_comes_when_it_is_due,
                a_retry_is_marked_after_its_publish_only,
                two_processes_at_once_count_once,
                a_due_retry_is_republished_before_it_is_marked,
                due_retries_are_published_together_and_marked_one_by_one,
                a_retry_of_a_route_without_a_queue_delays_no_other,
                a_retry_published_twice_is_granted_once,
                a_replayed_dead_letter_is_granted_again,
                a_done_event_is_replayed_in_a_new_round,
                a_replayed_event_that_dies_keeps_its_round,
                a_route_is_fed_events_that_it_never_had,
                only_what_is_done_or_new_is_replayed,
                a_replay_takes_what_its_filter_selects,
                a_replay_takes_the_events_of_its_plan,
                a_replay_of_events_is_audited,
                a_route_is_fed_what_its_conditions_select,
                undecodable_bytes_are_kept_once,
                a_dead_letter_without_a_receipt_is_not_replayed,
                a_deferred_event_waits_for_the_same_attempt,
                a_deferral_keeps_its_beginning,
                a_deferral_ends_with_the_next_attempt,
                a_deferral_ends_at_its_greatest_age,
                an_expired_deferral_does_not_start_anew,
                deferrals_by_a_target_share_their_beginning,
                a_copy_of_a_deferred_event_is_not_granted_early,
                copies_of_a_deferred_event_have_one_effect,
                a_deferral_of_what_has_moved_on_changes_nothing,
                a_deferral_cut_anywhere_is_whole_or_nothing,
                a_lease_is_committed_with_its_claim,
                a_leased_event_waits_and_its_copies_are_not_granted,
                a_lease_that_ended_is_granted_under_a_higher_epoch,
                an_epoch_rises_over_replays,
                only_the_replay_of_a_done_event_has_another_effect,
                a_lease_is_not_hurried,
                an_attempt_without_outcomes_is_lost,
                calls_in_flight_are_limited_across_workers,
                a_refused_lease_leaves_the_claim,
                an_ended_transaction_leases_nothing,
                a_lease_cut_anywhere_is_whole_or_nothing,
                a_call_that_is_done_ends_its_event_once,
                a_late_success_ends_an_event_without_an_end,
                a_late_failure_of_an_older_call_changes_nothing,
                an_older_round_ends_nothing,
                a_failed_call_and_its_retry_appear_together,
                a_failed_call_and_its_dead_letter_appear_together,
                a_deferred_call_costs_no_attempt,
                a_deferred_call_expires_while_others_are_answered,
                an_expired_deferral_of_a_call_does_not_start_anew,
                faults_and_pauses_of_a_target_share_a_deferral,
                a_breaker_is_shared_by_workers,
                one_call_probes_a_target_that_was_down,
                a_fault_recorded_twice_counts_once,
                targets_are_listed,
                the_last_error_of_a_target_is_kept,
                the_end_of_a_call_cut_anywhere_is_whole_or_nothing,
                starts_are_counted_until_a_process_survives,
                starts_are_counted_by_kind,
                starts_are_per_attempt,
                starts_are_per_route,
                a_start_is_retracted_by_its_process_alone,
                a_start_outlives_its_process,
                a_lost_connection_is_unavailable,
                a_handlers_lost_connection_is_unavailable,
                a_constraint_violation_is_not_ours,
                connections_in_use_are_no_outage,
                a_busy_lock_is_contention,
                a_cancelled_unit_of_work_affects_no_other,
                a_unit_of_work_cut_anywhere_has_one_effect,
                a_failure_cut_anywhere_is_whole_or_nothing,
                the_accounting_balances,
                the_backlog_counts_what_waits,
                dead_letters_have_one_count,
                dead_letters_are_grouped_by_cause,
                a_group_is_a_filter,
                a_dead_letter_keeps_its_earlier_deaths,
                a_list_is_read_page_by_page,
                a_filter_narrows_by_time_source_and_error,
                names_are_known_that_were_seen,
                refusals_are_listed_and_grouped,
                the_audit_is_listed,
                retries_are_listed_with_their_errors,
                a_hurried_retry_is_due_at_once,
                a_receipt_leads_to_its_event,
                an_account_counts_once,
                reported_receipts_without_an_outcome_are_listed,
                a_sequence_gap_is_listed_until_it_is_filled,
                a_receipt_is_passed_by_later_ones,
                what_waits_on_one_route_hides_nothing_of_another,
                an_ingest_with_unreported_receipts_is_listed,
                what_is_lost_is_written_off_once,
                an_ingest_that_never_closed_is_listed_without_reports,
                a_number_beyond_a_closing_report_is_an_imbalance,
                one_number_of_two_receipts_is_an_imbalance,
                a_witness_follows_what_is_reported,
                a_store_behind_its_witness_is_found,
                an_accepted_restore_begins_another_life,
                ends_are_read_in_the_order_of_commits,
                only_what_ended_has_an_end,
                a_dead_letter_ends_again,
                undecodable_bytes_have_an_end,
                an_orphan_ends_as_dead_only,
                workers_at_once_are_read_along_completely,
                ends_of_one_route_are_read_past_others,
                a_cursor_of_another_store_is_refused,
                a_pause_is_kept_until_it_is_resumed,
                a_pause_of_all_routes_is_apart_from_that_of_one,
                limits_of_a_route_are_kept,
                a_retry_of_a_paused_route_waits,
                what_waits_on_a_paused_route_is_not_passed,
                a_store_of_another_identity_key_is_refused,
                a_store_with_events_gets_no_identity_key,
            );
        }
    };
}
