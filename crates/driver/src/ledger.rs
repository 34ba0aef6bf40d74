//! What a store must promise to the console: all that operators see and do.

use std::time::Duration;

use async_trait::async_trait;
use hookbox_event::{EventId, ReceiptId, RouteName, SourceName, Timestamp, Topic, Witness};
use serde::Serialize;

use crate::{
    AcceptedRestore, AccountGap, Accounts, AuditFilter, AuditRow, Backlog, ClaimState, DeadClaim,
    DeadFilter, DeadGroup, DeadLetter, DeadRow, EventCursor, EventDetail, Fault, Imbalance,
    Mismatch, Name, Names, OpenReceipt, Refusal, RefusalCursor, RefusalFilter, RefusalGroup,
    RetryFilter, RouteBooks, SilentIngest, Unvouched, WaitingRetry, WitnessPosition,
};

/// The operators' side of a store. Reads never lock out writers; each change is one transaction
/// together with its row in the audit.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Events on routes, newest first, and within a moment by event and route; those behind
    /// `after`. Where the filter holds only times, it reads no more rows than it returns.
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>, Fault>;

    /// Names of sources, topics and routes that the store has seen lately: to be suggested.
    async fn names(&self) -> Result<Names, Fault>;

    /// Whether the store has ever seen a name.
    async fn has_seen(&self, name: Name<'_>) -> Result<bool, Fault>;

    /// One event with its whole history, by a prefix of its id that is unambiguous; none when
    /// nothing or more than one event has it.
    async fn event(&self, id_prefix_hex: &str) -> Result<Option<EventDetail>, Fault>;

    /// The event of a receipt; none when the receipt has no outcome.
    async fn event_of(&self, receipt: &ReceiptId) -> Result<Option<EventId>, Fault>;

    /// Dead letters by route, reason and cause ([`crate::cause`]); largest first.
    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault>;

    /// Gives dead letters their group that an older hookbox wrote without it; at most `limit` in
    /// one transaction. How many there were: fewer than `limit` once all have theirs. Groups, and
    /// filters by group, know of them from then on.
    async fn dead_regroup(&self, limit: u32) -> Result<u64, Fault>;

    /// How many dead letters match a filter.
    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, Fault>;

    /// Dead letters with an id over `after`, in the order of their ids.
    async fn dead_list(
        &self,
        filter: &DeadFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadRow>, Fault>;

    /// One dead letter with its body and its history.
    async fn dead_show(&self, id: i64) -> Result<Option<DeadLetter>, Fault>;

    /// The states of the events of dead letters now, by the ids of the dead letters.
    async fn dead_claims(&self, ids: &[i64]) -> Result<Vec<DeadClaim>, Fault>;

    /// Makes dead letters due at once, with a fresh round of attempts. Those that are not in
    /// state `Dead` are left alone. Why they died is kept, with who replayed them. Returns how many
    /// were changed; at most `limit`.
    async fn dead_replay(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Marks dead letters as not to be replayed. Nothing is deleted.
    async fn dead_discard(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Reverts a discard.
    async fn dead_restore(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Writes an audit row for something that was read (an export, a body).
    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault>;

    /// Audit rows, newest first; those with an id below `before`.
    async fn audits(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Fault>;

    /// Waiting retries in the order of their times, and within a moment by event and route; those
    /// behind `after`.
    async fn retries(
        &self,
        filter: &RetryFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<WaitingRetry>, Fault>;

    /// How many retries match a filter and are not due yet: those that [`Ledger::hurry`] makes due.
    async fn retries_early(&self, filter: &RetryFilter) -> Result<u64, Fault>;

    /// Makes retries due now whose time has not come, at most `limit`, those first that are due
    /// first. It is the same attempt, and it still fails like any other. How many.
    async fn hurry(&self, filter: &RetryFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// The accounting of every route, from one consistent read.
    async fn books(&self) -> Result<Vec<RouteBooks>, Fault>;

    /// How much waits in the store, for each route that has something waiting.
    async fn backlog(&self) -> Result<Vec<Backlog>, Fault>;

    /// What ingests report as accepted, beside what has an outcome; at most `limit` receipts and
    /// gaps. A receipt is overdue when it was reported so long ago.
    async fn accounts(&self, limit: u32, overdue: Duration) -> Result<Accounts, Fault>;

    /// Writes off what an operator declares lost: open receipts that still have no outcome, and
    /// sequence numbers that will never be reported. Each leaves a row in the audit. Returns how
    /// many were written off.
    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault>;

    /// Ingests that have not reported their last numbers, although a receipt with such a number
    /// was settled so long ago; at most `limit`.
    async fn unvouched(&self, limit: u32, silent: Duration) -> Result<Vec<Unvouched>, Fault>;

    /// Ingests that have neither closed nor reported anything for so long, the longest without a
    /// report first; at most `limit`.
    async fn silent(&self, limit: u32, silent: Duration) -> Result<Vec<SilentIngest>, Fault>;

    /// What this store knows of itself and of its newest witness.
    async fn witness_position(&self) -> Result<WitnessPosition, Fault>;

    /// Begins another life of this store, when an operator accepts that it and its broker
    /// contradict each other, and commits the first witness of that life, with a sequence number
    /// above all others. One transaction, with a row in the audit.
    async fn accept_restore(
        &self,
        mismatch: &Mismatch,
        by: &str,
        why: &str,
    ) -> Result<Witness, Fault>;

    /// What was accepted so, newest first; at most `limit`.
    async fn accepted_restores(&self, limit: u32) -> Result<Vec<AcceptedRestore>, Fault>;

    /// Contradictions in the tables; empty when there is none. At most `limit` rows.
    async fn imbalances(&self, limit: u32) -> Result<Vec<Imbalance>, Fault>;

    /// Keeps refusals for operators to read: the newest 10,000, and only what is safe to show.
    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault>;

    /// Refusals, newest first, and within a moment by request; those behind `after`.
    async fn refusals(
        &self,
        filter: &RefusalFilter,
        after: Option<&RefusalCursor>,
        limit: u32,
    ) -> Result<Vec<Refusal>, Fault>;

    /// Refusals by source and reason; largest first.
    async fn refusal_groups(&self, filter: &RefusalFilter) -> Result<Vec<RefusalGroup>, Fault>;
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of this route.
    pub route: Option<RouteName>,
    /// Only of this topic.
    pub topic: Option<Topic>,
    /// Only in this state on some route.
    pub state: Option<ClaimState>,
    /// Only of this source.
    pub source: Option<SourceName>,
    /// Only those whose first receipt came in then or later.
    pub since: Option<Timestamp>,
    /// Only those whose first receipt came in before.
    pub until: Option<Timestamp>,
    /// Only those with an attempt or a dead letter whose error contains this, letter by letter.
    pub error: Option<String>,
}

/// One event on one route.
#[derive(Debug, Clone, Serialize)]
pub struct EventRow {
    /// Which event.
    pub event: EventId,
    /// What about.
    pub topic: Topic,
    /// The route.
    pub route: RouteName,
    /// Where it stands there.
    pub state: ClaimState,
    /// Attempts made.
    pub attempts: u32,
    /// When its first receipt came in.
    pub received_at: Timestamp,
    /// When it was last settled.
    pub settled_at: Option<Timestamp>,
}
