//! The seams of hookbox: what every broker driver and every store driver must promise.
//!
//! Each method of a seam is a whole operation. Its documentation is a promise that every driver
//! must keep. The `conformance` crate tests each promise with the cases that are named here, and
//! every driver must pass all of them.
//!
//! **Broker** — [`Broker`], [`Subscription`], [`Delivery`]
//! - `bytes_survive_exactly`
//! - `published_survives_a_restart_of_the_driver`
//! - `publishing_to_nowhere_is_an_error`, `publishing_to_no_route_is_an_error`
//! - `a_batch_for_two_routes_reaches_both`
//! - `a_rejected_publish_is_never_reported_as_accepted`
//! - `a_refusing_queue_is_never_reported_as_accepted`
//! - `publish_without_a_broker_fails_within_its_deadline`
//! - `a_lost_confirm_is_not_an_acceptance`
//! - `acknowledged_is_gone`, `released_is_redelivered`, `dropped_unsettled_is_redelivered`
//! - `unsettled_is_redelivered_after_a_lost_connection`
//! - `settling_after_a_lost_connection_is_a_fault_not_a_panic`
//! - `settling_over_a_severed_connection_is_a_fault`
//! - `prefetch_bounds_messages_in_flight`, `messages_beyond_the_prefetch_go_to_another_consumer`
//! - `cancelling_next_loses_no_message`
//! - `a_message_in_flight_does_not_delay_others`
//! - `acks_in_any_order_settle_their_own_message`
//! - `closing_a_subscription_returns_messages_in_flight`
//! - `a_broken_subscription_ends_with_a_fault`
//! - `depths_count_what_waits`
//! - `an_account_reaches_its_queue`
//! - `the_witness_is_read_and_stays`, `the_newest_witness_outlives_its_readers`
//! - `the_newest_witness_is_seen_by_each_of_many_readers`
//! - `a_broker_of_another_identity_key_is_refused`,
//!   `a_broker_with_messages_gets_no_identity_key`
//!
//! **Store** — [`Store`], [`Ledger`]
//! - `the_first_claim_is_fresh`, `the_second_is_a_duplicate`, `another_body_is_a_conflict`
//! - `another_body_is_a_duplicate_where_the_id_decides`, `a_stored_event_is_its_first_body`
//! - `another_body_is_kept_with_a_failure`, `another_body_is_kept_with_a_deferral`
//! - `the_same_receipt_again_is_redelivered`
//! - `claims_are_per_route`, `an_event_that_was_stored_before_is_claimed_as_new`
//! - `a_retry_without_a_claim_whose_body_is_not_the_stored_one_is_a_conflict`
//! - `an_event_keeps_its_number`, `later_events_have_higher_numbers`
//! - `a_rollback_frees_the_claim`, `a_dropped_transaction_rolls_back`
//! - `effects_and_claim_appear_together`
//! - `of_two_concurrent_claims_one_is_fresh`
//! - `opposite_orders_do_not_deadlock`
//! - `a_swallowed_error_is_no_commit`
//! - `a_handler_that_ends_the_transaction_is_detected`
//! - `a_handler_that_rolls_back_is_detected`, `a_handler_that_rolls_back_is_never_run_again`
//! - `an_ended_transaction_is_distinguished_from_an_error`,
//!   `a_savepoint_of_the_handlers_is_its_own`
//! - `undone_writes_are_gone_and_claims_stay`, `only_what_follows_the_savepoint_is_undone`
//! - `a_failed_statement_is_undone`, `a_session_is_new_after_an_undo`
//! - `an_ended_transaction_is_not_undone`
//! - `a_withdrawn_event_is_fresh_after_the_commit`, `a_withdrawn_retry_waits_as_before`
//! - `a_withdrawn_claim_is_held_until_the_end`, `an_ended_transaction_withdraws_nothing`
//! - `a_changed_session_is_no_commit`, `a_session_is_new_for_the_next_handler`,
//!   `a_session_is_new_after_a_failed_attempt`
//! - `an_event_that_is_older_than_a_done_one_is_stale`, `a_stale_event_is_counted_and_shown`
//! - `only_what_is_done_raises_a_version`, `a_version_that_was_rolled_back_makes_nothing_stale`
//! - `versions_are_compared_by_their_exact_values`, `versions_are_per_key_and_route`
//! - `a_granted_attempt_can_be_stale`, `a_withdrawn_event_raises_no_version`
//! - `a_withdrawn_event_leaves_its_key_as_it_was`, `an_orphan_raises_no_version`
//! - `of_two_concurrent_events_of_one_key_the_older_is_stale`,
//!   `of_two_events_of_an_untrusted_handler_the_older_is_stale`,
//!   `keys_in_opposite_orders_do_not_deadlock`
//! - `workers_at_once_leave_the_newest_of_each_key`
//! - `one_call_per_key_is_in_flight`, `a_call_that_is_done_raises_its_version`,
//!   `a_late_success_frees_no_key_of_a_newer_call`, `a_call_that_failed_frees_its_key`
//! - `a_failed_attempt_and_its_retry_appear_together`
//! - `a_failed_attempt_and_its_dead_letter_appear_together`
//! - `an_orphan_takes_no_other_body`, `an_orphan_outlives_its_process`
//! - `an_orphaned_retry_is_never_run_again`, `a_waiting_claim_sees_how_the_other_ended`
//! - `text_from_outside_is_made_storable`
//! - `a_failure_recorded_twice_counts_once`
//! - `a_retry_is_not_due_early`, `a_retry_comes_when_it_is_due`
//! - `a_due_retry_is_republished_before_it_is_marked`,
//!   `due_retries_are_published_together_and_marked_one_by_one`
//! - `a_retry_is_marked_after_its_publish_only`
//! - `a_retry_of_a_route_without_a_queue_delays_no_other`
//! - `a_retry_published_twice_is_granted_once`, `two_processes_at_once_count_once`
//! - `a_replayed_dead_letter_is_granted_again`
//! - `a_done_event_is_replayed_in_a_new_round`, `a_route_is_fed_events_that_it_never_had`
//! - `a_replayed_event_that_dies_keeps_its_round`
//! - `only_what_is_done_or_new_is_replayed`, `a_replay_takes_what_its_filter_selects`
//! - `a_replay_takes_the_events_of_its_plan`, `a_replay_of_events_is_audited`
//! - `undecodable_bytes_are_kept_once`, `a_dead_letter_without_a_receipt_is_not_replayed`
//! - `a_route_is_fed_what_its_conditions_select`
//! - `a_deferred_event_waits_for_the_same_attempt`, `a_deferral_keeps_its_beginning`
//! - `a_deferral_ends_with_the_next_attempt`, `a_deferral_ends_at_its_greatest_age`
//! - `an_expired_deferral_does_not_start_anew`, `deferrals_by_a_target_share_their_beginning`
//! - `a_copy_of_a_deferred_event_is_not_granted_early`,
//!   `copies_of_a_deferred_event_have_one_effect`
//! - `a_deferral_of_what_has_moved_on_changes_nothing`,
//!   `a_deferral_cut_anywhere_is_whole_or_nothing`
//! - `a_lease_is_committed_with_its_claim`, `a_leased_event_waits_and_its_copies_are_not_granted`
//! - `a_lease_that_ended_is_granted_under_a_higher_epoch`, `an_epoch_rises_over_replays`,
//!   `only_the_replay_of_a_done_event_has_another_effect`
//! - `a_lease_is_not_hurried`, `an_attempt_without_outcomes_is_lost`
//! - `calls_in_flight_are_limited_across_workers`, `a_refused_lease_leaves_the_claim`
//! - `a_call_that_is_done_ends_its_event_once`, `a_late_success_ends_an_event_without_an_end`
//! - `a_late_failure_of_an_older_call_changes_nothing`, `an_older_round_ends_nothing`
//! - `a_failed_call_and_its_retry_appear_together`,
//!   `a_failed_call_and_its_dead_letter_appear_together`
//! - `a_deferred_call_costs_no_attempt`, `a_deferred_call_expires_while_others_are_answered`
//! - `an_expired_deferral_of_a_call_does_not_start_anew`,
//!   `faults_and_pauses_of_a_target_share_a_deferral`
//! - `a_breaker_is_shared_by_workers`, `one_call_probes_a_target_that_was_down`,
//!   `a_fault_recorded_twice_counts_once`, `targets_are_listed`,
//!   `the_last_error_of_a_target_is_kept`
//! - `an_ended_transaction_leases_nothing`, `a_lease_cut_anywhere_is_whole_or_nothing`,
//!   `the_end_of_a_call_cut_anywhere_is_whole_or_nothing`
//! - `starts_are_counted_until_a_process_survives`, `starts_are_counted_by_kind`,
//!   `starts_are_per_attempt`, `starts_are_per_route`, `a_start_is_retracted_by_its_process_alone`
//! - `a_start_outlives_its_process`
//! - `a_lost_connection_is_unavailable`, `a_constraint_violation_is_not_ours`
//! - `connections_in_use_are_no_outage`
//! - `a_handlers_lost_connection_is_unavailable`
//! - `a_busy_lock_is_contention`
//! - `a_cancelled_unit_of_work_affects_no_other`
//! - `a_unit_of_work_cut_anywhere_has_one_effect`
//! - `a_failure_cut_anywhere_is_whole_or_nothing`
//! - `the_accounting_balances`, `the_backlog_counts_what_waits`
//! - `dead_letters_have_one_count`, `a_receipt_leads_to_its_event`
//! - `dead_letters_are_grouped_by_cause`, `a_group_is_a_filter`
//! - `a_dead_letter_keeps_its_earlier_deaths`
//! - `a_list_is_read_page_by_page`, `a_filter_narrows_by_time_source_and_error`
//! - `names_are_known_that_were_seen`
//! - `refusals_are_listed_and_grouped`, `the_audit_is_listed`
//! - `retries_are_listed_with_their_errors`, `a_hurried_retry_is_due_at_once`
//! - `an_account_counts_once`, `reported_receipts_without_an_outcome_are_listed`
//! - `a_sequence_gap_is_listed_until_it_is_filled`, `a_receipt_is_passed_by_later_ones`
//! - `what_waits_on_one_route_hides_nothing_of_another`
//! - `an_ingest_with_unreported_receipts_is_listed`, `what_is_lost_is_written_off_once`
//! - `an_ingest_that_never_closed_is_listed_without_reports`
//! - `a_number_beyond_a_closing_report_is_an_imbalance`
//! - `one_number_of_two_receipts_is_an_imbalance`
//! - `a_witness_follows_what_is_reported`, `a_store_behind_its_witness_is_found`
//! - `an_accepted_restore_begins_another_life`
//! - `ends_are_read_in_the_order_of_commits`, `only_what_ended_has_an_end`
//! - `a_dead_letter_ends_again`, `undecodable_bytes_have_an_end`, `an_orphan_ends_as_dead_only`
//! - `workers_at_once_are_read_along_completely`
//! - `ends_of_one_route_are_read_past_others`, `a_cursor_of_another_store_is_refused`
//! - `a_pause_is_kept_until_it_is_resumed`, `a_pause_of_all_routes_is_apart_from_that_of_one`
//! - `limits_of_a_route_are_kept`, `a_retry_of_a_paused_route_waits`
//! - `what_waits_on_a_paused_route_is_not_passed`
//! - `a_store_of_another_identity_key_is_refused`, `a_store_with_events_gets_no_identity_key`
//!
//! Architecture invariant: this crate uses no async runtime, no SQL driver, no AMQP client and no
//! HTTP library.

mod accounts;
mod after_failure;
mod after_outcome;
mod audit;
mod backlog;
mod books;
mod broker;
mod call_changes;
mod call_end;
mod cause;
mod causes;
mod claim_evidence;
mod claim_facts;
mod claim_state;
mod clock;
mod cursor;
mod dead_change;
mod dead_group;
mod dead_letter;
mod dead_reason;
mod deferral;
mod delivery;
mod ends;
mod event_detail;
mod event_rate;
mod event_replay;
mod failure;
mod fault;
mod foreign_schema;
mod identity_mismatch;
mod identity_stamp;
mod lease;
mod ledger;
mod loopback;
mod names;
mod newest;
mod open;
mod own_tables;
mod refusal;
mod replay_choice;
mod reported_range;
mod requeue;
mod rng;
mod route_control;
mod starts;
mod storable;
mod store;
mod stored_outcome;
mod target;
mod undecodable;
mod version_changes;
mod waiting_attempt;
mod waiting_retry;
mod witness;

pub use accounts::{
    AccountGap, Accounts, OpenReceipt, PASSED_WITHIN, SilentIngest, Unvouched, WRITE_OFF_ACTION,
    receipts_gone,
};
pub use after_failure::{EventState, FailedAttempt};
pub use after_outcome::{ClaimEnd, Death};
pub use audit::{AuditFilter, AuditRow};
pub use backlog::Backlog;
pub use books::{Imbalance, RouteBooks};
pub use broker::{
    Batch, Broker, Depth, NotReadyKind, PublishError, PublishErrorKind, Queue, Readiness,
    Subscription,
};
pub use call_changes::{CallChanges, DoneCall, FailedEnd, StoredCall};
pub use call_end::{
    CallDeferral, CallEffect, CallEnd, CallFailure, CallRecorded, CallResult, CallState, CallWrite,
};
pub use cause::cause;
pub use causes::causes;
pub use claim_evidence::ClaimEvidence;
pub use claim_facts::ClaimFacts;
pub use claim_state::ClaimState;
pub use clock::{Clock, SystemClock};
pub use cursor::{EventCursor, InvalidCursor, RefusalCursor};
pub use dead_change::DeadChange;
pub use dead_group::{DeadGroupId, InvalidDeadGroupId};
pub use dead_letter::{
    DeadClaim, DeadFilter, DeadGroup, DeadLetter, DeadRow, DeadState, EarlierDeath,
};
pub use dead_reason::DeadReason;
pub use deferral::{DeferReason, Deferral, DeferralWrite, Deferred, DeferredSince};
pub use delivery::{Delivery, Settler};
pub use ends::{
    CursorRefusal, EndCursor, EndOutcome, EndRow, EndsPage, EndsRead, HeldBack, Holder,
    InvalidEndCursor, ReadEnd, round_after,
};
pub use event_detail::{AttemptRow, ClaimRow, EventDetail, ReceiptRow, RetryRow};
pub use event_rate::{EventRate, InvalidRate};
pub use event_replay::{
    BodyCheck, LeftAlone, ReplayCandidate, ReplayCounts, ReplayFilter, ReplayPage, ReplayPosition,
    Replayable,
};
pub use failure::{Failure, FailureClass, Recorded, Then};
pub use fault::{Fault, FaultKind, UserStatement, describe};
pub use foreign_schema::{
    AppliedMigration, ForeignSchema, KnownMigration, foreign_schema, replaced,
};
pub use identity_mismatch::IdentityMismatch;
pub use identity_stamp::{ExpectedIdentity, FoundIdentity, IdentityStamp};
pub use lease::{LeaseClaim, LeaseTerms, LeaseWish, Leased, Leases, granted_leases};
pub use ledger::{EventFilter, EventRow, Ledger};
pub use loopback::is_loopback;
pub use names::{Name, Names};
pub use newest::{KeyState, VersionStanding, VersionedEvent, newest_of_each_key};
pub use open::{OpenError, TopologyDifference};
pub use own_tables::own_tables;
pub use refusal::{Refusal, RefusalFilter, RefusalGroup};
pub use replay_choice::{ReplayChoice, replayed_events};
pub use reported_range::ReportedRange;
pub use requeue::{DueRetry, Republish, Requeued};
pub use rng::{Rng, SystemRng};
pub use route_control::{
    LimitChange, RouteChange, RouteControl, RouteControls, RouteLimits, RoutePause, RouteScope,
};
pub use starts::{CountedStart, Start, StartCounts, StartKind};
pub use storable::{STORABLE_MAX, storable};
pub use store::{Claimed, CommitError, Outcome, ReceiptOutcome, Store, StoredEvent};
pub use stored_outcome::StoredOutcome;
pub use target::{
    BreakerState, FAULTS_TO_OPEN, InvalidTargetName, NoPermit, Rate, TargetAnswer, TargetError,
    TargetLimits, TargetName, TargetRow, TargetState,
};
pub use undecodable::UndecodableMessage;
pub use version_changes::{VersionChanges, frees_key};
pub use waiting_attempt::WaitingAttempt;
pub use waiting_retry::{RetryFilter, WaitingRetry};
pub use witness::{
    AcceptedRestore, BrokerBehind, Mismatch, NextWitness, OtherStore, StoreBehind, UnknownNumbers,
    WITNESS_INGESTS_MAX, WITNESSES_KEPT, WitnessPosition, newest_witness,
};
