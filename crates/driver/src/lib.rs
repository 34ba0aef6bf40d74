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
//!
//! **Store** — [`Store`], [`Ledger`]
//! - `the_first_claim_is_fresh`, `the_second_is_a_duplicate`, `another_body_is_a_conflict`
//! - `another_body_is_a_duplicate_where_the_id_decides`, `a_stored_event_is_its_first_body`
//! - `another_body_is_kept_with_a_failure`, `another_body_is_kept_with_a_deferral`
//! - `the_same_receipt_again_is_redelivered`
//! - `claims_are_per_route`, `an_event_that_was_stored_before_is_claimed_as_new`
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
//! - `a_changed_session_is_no_commit`, `a_session_is_new_for_the_next_handler`
//! - `a_failed_attempt_and_its_retry_appear_together`
//! - `a_failed_attempt_and_its_dead_letter_appear_together`
//! - `an_orphan_takes_no_other_body`, `an_orphan_outlives_its_process`
//! - `an_orphaned_retry_is_never_run_again`, `a_waiting_claim_sees_how_the_other_ended`
//! - `text_from_outside_is_made_storable`
//! - `a_failure_recorded_twice_counts_once`
//! - `a_retry_is_not_due_early`, `a_retry_comes_when_it_is_due`
//! - `a_due_retry_is_republished_before_it_is_marked`
//! - `a_retry_is_marked_after_its_publish_only`
//! - `a_retry_of_a_route_without_a_queue_delays_no_other`
//! - `a_retry_published_twice_is_granted_once`, `two_processes_at_once_count_once`
//! - `a_replayed_dead_letter_is_granted_again`
//! - `undecodable_bytes_are_kept_once`, `a_dead_letter_without_a_receipt_is_not_replayed`
//! - `a_deferred_event_waits_for_the_same_attempt`, `a_deferral_keeps_its_beginning`
//! - `a_deferral_ends_with_the_next_attempt`, `a_deferral_ends_at_its_greatest_age`
//! - `a_copy_of_a_deferred_event_is_not_granted_early`,
//!   `copies_of_a_deferred_event_have_one_effect`
//! - `a_deferral_of_what_has_moved_on_changes_nothing`,
//!   `a_deferral_cut_anywhere_is_whole_or_nothing`
//! - `starts_are_counted_until_a_process_survives`, `starts_are_counted_by_kind`,
//!   `starts_are_per_attempt`, `starts_are_per_route`, `a_start_is_retracted_by_its_process_alone`
//! - `a_start_outlives_its_process`
//! - `a_lost_connection_is_unavailable`, `a_constraint_violation_is_not_ours`
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
mod cause;
mod causes;
mod claim_evidence;
mod claim_facts;
mod clock;
mod cursor;
mod dead_change;
mod dead_group;
mod dead_letter;
mod dead_reason;
mod deferral;
mod delivery;
mod event_detail;
mod failure;
mod fault;
mod foreign_schema;
mod ledger;
mod loopback;
mod names;
mod open;
mod refusal;
mod reported_range;
mod requeue;
mod rng;
mod starts;
mod storable;
mod store;
mod stored_outcome;
mod waiting_retry;
mod witness;

pub use accounts::{AccountGap, Accounts, OpenReceipt, SilentIngest, Unvouched, receipts_gone};
pub use after_failure::{EventState, FailedAttempt};
pub use after_outcome::{ClaimEnd, Death};
pub use audit::{AuditFilter, AuditRow};
pub use backlog::Backlog;
pub use books::{Imbalance, RouteBooks};
pub use broker::{
    Batch, Broker, Depth, NotReadyKind, PublishError, PublishErrorKind, Queue, Readiness,
    Subscription,
};
pub use cause::cause;
pub use causes::causes;
pub use claim_evidence::ClaimEvidence;
pub use claim_facts::{ClaimFacts, WaitingAttempt};
pub use clock::{Clock, SystemClock};
pub use cursor::{EventCursor, InvalidCursor, RefusalCursor};
pub use dead_change::DeadChange;
pub use dead_group::{DeadGroupId, InvalidDeadGroupId};
pub use dead_letter::{
    DeadClaim, DeadFilter, DeadGroup, DeadLetter, DeadRow, DeadState, EarlierDeath,
};
pub use dead_reason::DeadReason;
pub use deferral::{DeferReason, Deferral, Deferred, DeferredSince};
pub use delivery::{Delivery, Settler};
pub use event_detail::{AttemptRow, ClaimRow, EventDetail, ReceiptRow, RetryRow};
pub use failure::{Failure, FailureClass, Then};
pub use fault::{Fault, FaultKind, describe};
pub use foreign_schema::{
    AppliedMigration, ForeignSchema, KnownMigration, foreign_schema, replaced,
};
pub use ledger::{EventFilter, EventRow, Ledger};
pub use loopback::is_loopback;
pub use names::{Name, Names};
pub use open::{OpenError, TopologyDifference};
pub use refusal::{Refusal, RefusalFilter, RefusalGroup};
pub use reported_range::ReportedRange;
pub use requeue::{DueRetry, Republish, Requeued};
pub use rng::{Rng, SystemRng};
pub use starts::{CountedStart, Start, StartCounts, StartKind};
pub use storable::{STORABLE_MAX, storable};
pub use store::{
    ClaimState, Claimed, CommitError, Outcome, ReceiptOutcome, Recorded, Store, StoredEvent,
    UndecodableMessage,
};
pub use stored_outcome::StoredOutcome;
pub use waiting_retry::{RetryFilter, WaitingRetry};
pub use witness::{
    AcceptedRestore, BrokerBehind, Mismatch, NextWitness, OtherStore, StoreBehind, UnknownNumbers,
    WITNESS_INGESTS_MAX, WITNESSES_KEPT, WitnessPosition, newest_witness,
};
