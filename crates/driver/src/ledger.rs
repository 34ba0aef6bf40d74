//! The seam to a store for operators: every read and every change that a store driver must offer.

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

/// The operators' side of a store. Reads never block writers. Each change is one transaction that
/// also writes its row in the audit.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Lists events on routes after the cursor `after`: newest first, and within one moment by
    /// event and route. When the filter holds only times, the query reads no more rows than it
    /// returns.
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>, Fault>;

    /// Returns names of sources, topics and routes that the store has seen lately, as suggestions
    /// for a mistyped name.
    async fn names(&self) -> Result<Names, Fault>;

    /// Returns whether the store has ever seen a name.
    async fn has_seen(&self, name: Name<'_>) -> Result<bool, Fault>;

    /// Finds one event by a prefix of its id and returns its whole history; `None` when no event or
    /// more than one has this prefix.
    async fn event(&self, id_prefix_hex: &str) -> Result<Option<EventDetail>, Fault>;

    /// Returns the event of a receipt; `None` when the receipt has no outcome.
    async fn event_of(&self, receipt: &ReceiptId) -> Result<Option<EventId>, Fault>;

    /// Groups dead letters by route, reason and cause ([`crate::cause`]); the largest group comes
    /// first.
    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault>;

    /// Assigns groups to dead letters that an older hookbox wrote without one, at most `limit` in
    /// one transaction. Returns how many it changed: fewer than `limit` means that all have their
    /// group. From then on, groups and filters by group include them.
    async fn dead_regroup(&self, limit: u32) -> Result<u64, Fault>;

    /// Counts the dead letters that match a filter.
    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, Fault>;

    /// Lists dead letters with an id above `after`, in the order of their ids.
    async fn dead_list(
        &self,
        filter: &DeadFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadRow>, Fault>;

    /// One dead letter with its body and its history.
    async fn dead_show(&self, id: i64) -> Result<Option<DeadLetter>, Fault>;

    /// Returns the current state of the events of these dead letters, by the ids of the dead
    /// letters.
    async fn dead_claims(&self, ids: &[i64]) -> Result<Vec<DeadClaim>, Fault>;

    /// Makes at most `limit` dead letters due at once, with a fresh round of attempts, and returns
    /// how many it changed. It changes only those in state `Dead`. The store keeps why they died,
    /// and who replayed them.
    async fn dead_replay(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Marks dead letters as not to be replayed. It deletes nothing.
    async fn dead_discard(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Reverts a discard.
    async fn dead_restore(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Writes an audit row for data that an operator has read (an export, a body).
    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault>;

    /// Lists audit rows with an id below `before`, newest first.
    async fn audits(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Fault>;

    /// Lists waiting retries after the cursor `after`, in the order of their due times, and within
    /// one moment by event and route.
    async fn retries(
        &self,
        filter: &RetryFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<WaitingRetry>, Fault>;

    /// Counts the retries that match a filter and are not due yet: those that [`Ledger::hurry`]
    /// would make due.
    async fn retries_early(&self, filter: &RetryFilter) -> Result<u64, Fault>;

    /// Makes at most `limit` retries due now that are not due yet, those with the earliest due time
    /// first, and returns how many. Their attempt number stays, and a failure counts as usual.
    async fn hurry(&self, filter: &RetryFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Returns the settled receipts of every route by outcome, from one consistent read.
    async fn books(&self) -> Result<Vec<RouteBooks>, Fault>;

    /// Returns how many events wait in the store, for each route that has any.
    async fn backlog(&self) -> Result<Vec<Backlog>, Fault>;

    /// Returns what ingests report as accepted, and which of those receipts have no outcome; at
    /// most `limit` receipts and gaps. A receipt is overdue when it was reported at least `overdue`
    /// ago.
    async fn accounts(&self, limit: u32, overdue: Duration) -> Result<Accounts, Fault>;

    /// Writes off what an operator declares lost: open receipts that still have no outcome, and
    /// sequence numbers that will never be reported. Each write-off adds a row to the audit.
    /// Returns the number of write-offs.
    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault>;

    /// Lists at most `limit` ingests that have not reported their last numbers, although a receipt
    /// with such a number was settled at least `silent` ago.
    async fn unvouched(&self, limit: u32, silent: Duration) -> Result<Vec<Unvouched>, Fault>;

    /// Lists at most `limit` ingests that have not closed and have reported nothing for `silent`.
    /// The one without a report for the longest time comes first.
    async fn silent(&self, limit: u32, silent: Duration) -> Result<Vec<SilentIngest>, Fault>;

    /// Returns what this store has recorded: reported receipts, and its newest witness.
    async fn witness_position(&self) -> Result<WitnessPosition, Fault>;

    /// Starts a new incarnation of this store, because an operator accepts that the store and its
    /// broker contradict each other, and commits its first witness, with a sequence number above
    /// all others. The change and its audit row are one transaction.
    async fn accept_restore(
        &self,
        mismatch: &Mismatch,
        by: &str,
        why: &str,
    ) -> Result<Witness, Fault>;

    /// Lists the contradictions between store and broker that operators accepted, newest first; at
    /// most `limit`.
    async fn accepted_restores(&self, limit: u32) -> Result<Vec<AcceptedRestore>, Fault>;

    /// Lists contradictions between rows of the store's tables, at most `limit`; empty when there
    /// is none.
    async fn imbalances(&self, limit: u32) -> Result<Vec<Imbalance>, Fault>;

    /// Stores refusals for operators to read: the newest 10,000, and of each only what is safe to
    /// show.
    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault>;

    /// Lists refusals after the cursor `after`: newest first, and within one moment by request.
    async fn refusals(
        &self,
        filter: &RefusalFilter,
        after: Option<&RefusalCursor>,
        limit: u32,
    ) -> Result<Vec<Refusal>, Fault>;

    /// Groups refusals by source and reason; the largest group comes first.
    async fn refusal_groups(&self, filter: &RefusalFilter) -> Result<Vec<RefusalGroup>, Fault>;
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Keeps only dead letters of this route.
    pub route: Option<RouteName>,
    /// Keeps only dead letters of this topic.
    pub topic: Option<Topic>,
    /// Keeps only events in this state on some route.
    pub state: Option<ClaimState>,
    /// Keeps only rows of this source.
    pub source: Option<SourceName>,
    /// Keeps only events whose first receipt arrived at this moment or later.
    pub since: Option<Timestamp>,
    /// Keeps only events whose first receipt arrived before this moment.
    pub until: Option<Timestamp>,
    /// Keeps only events with an attempt or a dead letter whose error contains this text; upper and
    /// lower case differ.
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
    /// The event's state on this route.
    pub state: ClaimState,
    /// Attempts made.
    pub attempts: u32,
    /// The moment when the event's first receipt arrived.
    pub received_at: Timestamp,
    /// The moment when the event was last settled.
    pub settled_at: Option<Timestamp>,
}
