//! The seam to a store for operators: the trait with every read and every change that a store
//! driver must offer.

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

/// What operators read and change in a store. Reads never block writers. Each change is one
/// transaction that also writes its row of the audit log.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Lists events on routes after the cursor `after`, newest first, and events of the same moment
    /// by event and route. When the filter holds only times, the query reads no more rows than it
    /// returns.
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>, Fault>;

    /// Returns names of sources, topics and routes that the store has seen lately, so that a
    /// command can suggest one of them for a mistyped name.
    async fn names(&self) -> Result<Names, Fault>;

    /// Returns whether the store has ever seen this name of a source, topic or route.
    async fn has_seen(&self, name: Name<'_>) -> Result<bool, Fault>;

    /// Finds one event by a prefix of its id, and returns the event with its whole history. Returns
    /// `None` when no event or more than one has this prefix.
    async fn event(&self, id_prefix_hex: &str) -> Result<Option<EventDetail>, Fault>;

    /// Returns the event of a receipt; `None` when the receipt has no outcome.
    async fn event_of(&self, receipt: &ReceiptId) -> Result<Option<EventId>, Fault>;

    /// Groups dead letters by route, reason and cause ([`crate::cause`]); the largest group comes
    /// first.
    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault>;

    /// Assigns groups to at most `limit` dead letters that an older hookbox wrote without a group,
    /// in one transaction. Returns how many it changed; fewer than `limit` means that every dead
    /// letter has its group. From then on, lists of groups and filters by group include these dead
    /// letters.
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

    /// Returns one dead letter with the body and the history of its event.
    async fn dead_show(&self, id: i64) -> Result<Option<DeadLetter>, Fault>;

    /// Returns the current state of the events of these dead letters, by the ids of the dead
    /// letters.
    async fn dead_claims(&self, ids: &[i64]) -> Result<Vec<DeadClaim>, Fault>;

    /// Replays at most `limit` dead letters in state `Dead`, and returns how many it changed. Each
    /// is due at once, and the retry policy counts its attempts anew. The store keeps the reason of
    /// each dead letter, and the operator who replayed it.
    async fn dead_replay(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Marks dead letters as not to be replayed. It deletes nothing.
    async fn dead_discard(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Reverts a discard: the dead letters are in state `Dead` again.
    async fn dead_restore(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Writes a row of the audit log for data that an operator has read, such as an export or a
    /// body.
    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault>;

    /// Lists rows of the audit log with an id below `before`, newest first.
    async fn audits(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Fault>;

    /// Lists waiting retries after the cursor `after`, in the order of their due times, and those
    /// of the same moment by event and route.
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
    /// first. Returns how many it changed. The number of their attempt stays the same, and a
    /// failure counts as usual.
    async fn hurry(&self, filter: &RetryFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Returns the settled receipts of every route by outcome, from one consistent read.
    async fn books(&self) -> Result<Vec<RouteBooks>, Fault>;

    /// Returns how many events wait in the store, for each route that has any.
    async fn backlog(&self) -> Result<Vec<Backlog>, Fault>;

    /// Returns the receipts that ingests report as accepted, and at most `limit` of those without
    /// an outcome, and at most `limit` sequence gaps. A receipt is overdue when it was reported at
    /// least `overdue` ago.
    async fn accounts(&self, limit: u32, overdue: Duration) -> Result<Accounts, Fault>;

    /// Writes off what an operator declares lost: open receipts that still have no outcome, and
    /// sequence numbers that will never be reported. Each write-off adds a row to the audit log.
    /// Returns the number of write-offs.
    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault>;

    /// Lists at most `limit` ingests that have not reported their last sequence numbers, although a
    /// receipt with such a number was settled at least `silent` ago.
    async fn unvouched(&self, limit: u32, silent: Duration) -> Result<Vec<Unvouched>, Fault>;

    /// Lists at most `limit` ingests that have not sent a closing report and have reported nothing
    /// for `silent`. The ingest with the oldest last report comes first.
    async fn silent(&self, limit: u32, silent: Duration) -> Result<Vec<SilentIngest>, Fault>;

    /// Returns how many reported receipts this store has recorded, and its newest witness: the
    /// message at the broker that later shows whether the store or the broker was restored.
    async fn witness_position(&self) -> Result<WitnessPosition, Fault>;

    /// Starts a new incarnation of this store, because an operator accepts that the store and its
    /// broker contradict each other. An incarnation is the life of a store between two restores.
    /// The same transaction commits the incarnation's first witness, with a sequence number above
    /// all others, and the row of the audit log.
    async fn accept_restore(
        &self,
        mismatch: &Mismatch,
        by: &str,
        why: &str,
    ) -> Result<Witness, Fault>;

    /// Lists at most `limit` contradictions between store and broker that operators have accepted,
    /// newest first.
    async fn accepted_restores(&self, limit: u32) -> Result<Vec<AcceptedRestore>, Fault>;

    /// Lists at most `limit` contradictions between rows of the store's tables. The list is empty
    /// when there is none.
    async fn imbalances(&self, limit: u32) -> Result<Vec<Imbalance>, Fault>;

    /// Stores refused requests for operators to read. The store keeps the newest 10,000, and of
    /// each only what is safe to show.
    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault>;

    /// Lists refused requests after the cursor `after`, newest first, and those of the same moment
    /// by request.
    async fn refusals(
        &self,
        filter: &RefusalFilter,
        after: Option<&RefusalCursor>,
        limit: u32,
    ) -> Result<Vec<Refusal>, Fault>;

    /// Groups refused requests by source and reason; the largest group comes first.
    async fn refusal_groups(&self, filter: &RefusalFilter) -> Result<Vec<RefusalGroup>, Fault>;
}

/// A filter for events on routes. An event must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Keeps only events on this route.
    pub route: Option<RouteName>,
    /// Keeps only events of this topic.
    pub topic: Option<Topic>,
    /// Keeps only events in this state on some route.
    pub state: Option<ClaimState>,
    /// Keeps only events of this source.
    pub source: Option<SourceName>,
    /// Keeps only events whose first receipt arrived at this moment or later.
    pub since: Option<Timestamp>,
    /// Keeps only events whose first receipt arrived before this moment.
    pub until: Option<Timestamp>,
    /// Keeps only events with an attempt or a dead letter whose error contains this text. The
    /// comparison is case-sensitive.
    pub error: Option<String>,
}

/// One event on one route, as a row of a list.
#[derive(Debug, Clone, Serialize)]
pub struct EventRow {
    /// The id of the event.
    pub event: EventId,
    /// The topic of the event.
    pub topic: Topic,
    /// The route of this row.
    pub route: RouteName,
    /// The event's state on this route.
    pub state: ClaimState,
    /// The number of attempts made.
    pub attempts: u32,
    /// The moment when the event's first receipt arrived.
    pub received_at: Timestamp,
    /// The moment when the event was last settled.
    pub settled_at: Option<Timestamp>,
}
