//! The seam to a store for operators: a trait with every read and every change that operators need
//! and a store driver must offer.

use std::time::Duration;

use async_trait::async_trait;
use hookbox_event::{EventId, ReceiptId, RouteName, SourceName, Timestamp, Topic, Witness};
use serde::Serialize;

use crate::{
    AcceptedRestore, AccountGap, Accounts, AuditFilter, AuditRow, Backlog, ClaimState, DeadClaim,
    DeadFilter, DeadGroup, DeadLetter, DeadRow, EndCursor, EndsRead, EventCursor, EventDetail,
    Fault, HeldBack, Imbalance, Mismatch, Name, Names, OpenReceipt, Refusal, RefusalCursor,
    RefusalFilter, RefusalGroup, ReplayChoice, ReplayFilter, ReplayPage, ReplayPosition,
    RetryFilter, RouteBooks, RouteChange, RouteControls, RouteScope, SilentIngest, TargetRow,
    Unvouched, WaitingRetry, WitnessPosition,
};

/// What operators can read and change in a store. Reads never block writers. Each change is one
/// transaction, which also writes a row of the audit log.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Lists events on routes after the cursor `after`, newest first; events of the same time are
    /// ordered by event and route. A query whose filter sets only times reads no more rows than it
    /// returns.
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>, Fault>;

    /// Reads a page of at most `limit` ends of events, in the order of their positions: the ends on
    /// `route`, or on all routes if it is `None`. The page begins after the cursor `after`, or with
    /// the first end if it is `None`.
    ///
    /// A reader that continues after each page misses no end, and gets none twice, whatever
    /// transactions run meanwhile: an end is read only when no end with a lower position can appear
    /// any more. After a restore, or a move to another server, this still holds for a cursor that
    /// is not refused.
    async fn ends(
        &self,
        after: Option<&EndCursor>,
        route: Option<&RouteName>,
        limit: u32,
    ) -> Result<EndsRead, Fault>;

    /// Returns for how long committed ends have been held back from [`Ledger::ends`], and by which
    /// transaction; `None` when every committed end can be read.
    async fn ends_held_back(&self) -> Result<Option<HeldBack>, Fault>;

    /// Returns the names of sources, topics and routes that the store has seen lately. From these,
    /// a command suggests a name to an operator who has mistyped one.
    async fn names(&self) -> Result<Names, Fault>;

    /// Returns whether the store has ever seen this name of a source, topic or route.
    async fn has_seen(&self, name: Name<'_>) -> Result<bool, Fault>;

    /// Finds one event by a prefix of its id, and returns the event with its whole history. Returns
    /// `None` when no event or more than one has this prefix.
    async fn event(&self, id_prefix_hex: &str) -> Result<Option<EventDetail>, Fault>;

    /// Returns the event of a receipt; `None` when the receipt has no outcome.
    async fn event_of(&self, receipt: &ReceiptId) -> Result<Option<EventId>, Fault>;

    /// Returns what [`Ledger::replay`] would do with the next `limit` events that match the filter
    /// after the position `after`, in the order of their positions. Changes nothing. To replay
    /// these events and no others, whatever is stored or done meanwhile, set the numbers of the
    /// filter ([`ReplayFilter::numbers`]) to those that are returned.
    async fn replayable(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
    ) -> Result<ReplayChoice, Fault>;

    /// Takes the next `limit` events that match the filter after the position `after`, and puts
    /// those that may be replayed ([`ReplayFilter::judge`]) on the filter's route, in one
    /// transaction. The events are due at once. An event that is done on the route begins a new
    /// round, and the attempts already made stay counted. An event that the route never had gets a
    /// claim and a copy of its first receipt there. Each replayed event has a row in the audit log,
    /// with the reason `why`.
    async fn replay(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
        by: &str,
        why: &str,
    ) -> Result<ReplayPage, Fault>;

    /// Groups dead letters by route, reason and cause ([`crate::cause`]); the largest group comes
    /// first.
    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault>;

    /// Computes, in one transaction, the groups of at most `limit` dead letters that an older
    /// version of hookbox has written without a group. Until this is done, these dead letters are
    /// missing from lists of groups and from filters by group. Returns the number of changed dead
    /// letters; fewer than `limit` means that every dead letter has its group.
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

    /// Returns the present state of the events of these dead letters, which are given by their ids.
    async fn dead_claims(&self, ids: &[i64]) -> Result<Vec<DeadClaim>, Fault>;

    /// Replays at most `limit` dead letters in state `Dead`, and returns the number of replayed
    /// ones. Their events are due at once, and the retry policy counts their attempts anew. For
    /// each replay the store keeps the reason of the dead letter and the operator `by`.
    async fn dead_replay(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Sets dead letters to state `Discarded`, so that they are not replayed. Nothing is deleted.
    /// Returns the number of changed dead letters.
    async fn dead_discard(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Reverts a discard: sets discarded dead letters back to state `Dead`. Returns the number of
    /// changed dead letters.
    async fn dead_restore(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Writes a row of the audit log about data that an operator has read, such as a body or an
    /// export.
    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault>;

    /// Lists rows of the audit log with an id below `before`, newest first.
    async fn audits(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Fault>;

    /// Lists waiting retries after the cursor `after`, ordered by their due times. Retries with
    /// equal due times are ordered by event and route.
    async fn retries(
        &self,
        filter: &RetryFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<WaitingRetry>, Fault>;

    /// Counts the retries that match a filter and are not due yet: those that [`Ledger::hurry`]
    /// would make due. Leased events are not among them.
    async fn retries_early(&self, filter: &RetryFilter) -> Result<u64, Fault>;

    /// Makes at most `limit` retries due now: those that match a filter and would be due later,
    /// beginning with the earliest due time. Returns how many retries it changed. Their attempt
    /// numbers stay the same, and a failed attempt counts as usual. Leased events are left alone,
    /// because their calls may still be in flight.
    async fn hurry(&self, filter: &RetryFilter, limit: u32, by: &str) -> Result<u64, Fault>;

    /// Returns what operators have set for routes.
    async fn controls(&self) -> Result<RouteControls, Fault>;

    /// Pauses or resumes the routes of `scope`, or sets their limits. A pause of all routes and
    /// that of one route are kept apart, so that ending the one does not end the other. Returns
    /// whether the change altered anything; if it did not, the audit log gets no row.
    async fn change_route(
        &self,
        scope: &RouteScope,
        change: &RouteChange,
        by: &str,
    ) -> Result<bool, Fault>;

    /// Lists the targets of external calls for which a lease was ever wanted or a call has ended,
    /// in the order of their names.
    async fn targets(&self) -> Result<Vec<TargetRow>, Fault>;

    /// Returns the numbers of settled receipts of every route by outcome, all of one moment.
    async fn books(&self) -> Result<Vec<RouteBooks>, Fault>;

    /// Returns how many events of each route wait for a retry or as a dead letter. Routes without
    /// any are not in the result.
    async fn backlog(&self) -> Result<Vec<Backlog>, Fault>;

    /// Returns the accounting of accepted receipts: their numbers, at most `limit` receipts without
    /// an outcome, and at most `limit` sequence gaps. A receipt counts as overdue when it was
    /// reported at least `overdue` ago. A receipt on a paused route waits, and counts as passed by
    /// later ones only when the route has been running again for at least `overdue`.
    async fn accounts(&self, limit: u32, overdue: Duration) -> Result<Accounts, Fault>;

    /// Records as lost what an operator declares lost: receipts that still have no outcome, and
    /// sequence numbers that will never be reported. Each of them gets a row in the audit log.
    /// Returns the number of receipts and gaps that were written off; each counts as one.
    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault>;

    /// Lists at most `limit` ingests with unreported sequence numbers, if a receipt with one of
    /// these numbers was settled at least `silent` ago.
    async fn unvouched(&self, limit: u32, silent: Duration) -> Result<Vec<Unvouched>, Fault>;

    /// Lists at most `limit` ingests that have not sent a closing report and have reported nothing
    /// for `silent`. The ingest with the oldest last report comes first.
    async fn silent(&self, limit: u32, silent: Duration) -> Result<Vec<SilentIngest>, Fault>;

    /// Returns what the store has recorded for the comparison with its broker: how many receipts
    /// were reported to it, and its newest witness message, which shows later whether the store or
    /// the broker was restored.
    async fn witness_position(&self) -> Result<WitnessPosition, Fault>;

    /// Starts a new incarnation of this store, after an operator has accepted that store and broker
    /// contradict each other. An incarnation is the time between two restores of a store. The same
    /// transaction commits the first witness message of the new incarnation, with a sequence number
    /// above all earlier ones, and the row of the audit log. Returns that witness message.
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

    /// Stores refused requests for operators to read. The store keeps the newest 10,000 requests,
    /// and of each only what is safe to show.
    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault>;

    /// Lists refused requests after the cursor `after`, newest first; those of the same time are
    /// ordered by their ids.
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
    /// Selects only events on this route.
    pub route: Option<RouteName>,
    /// Selects only events of this topic.
    pub topic: Option<Topic>,
    /// Selects only events in this state on some route.
    pub state: Option<ClaimState>,
    /// Selects only events of this source.
    pub source: Option<SourceName>,
    /// Selects only events whose first receipt arrived at this moment or later.
    pub since: Option<Timestamp>,
    /// Selects only events whose first receipt arrived before this moment.
    pub until: Option<Timestamp>,
    /// Selects only events with an attempt or a dead letter whose error contains this text. The
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
    /// The moment when the newest outcome of the event on this route was recorded; `None` while
    /// there is none.
    pub settled_at: Option<Timestamp>,
}
