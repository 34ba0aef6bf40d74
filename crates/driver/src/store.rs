//! The seam to a store: a trait whose methods are the promises that every store driver must keep.

use std::error::Error;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_event::{
    Account, ContentDigest, Envelope, EventId, EventNumber, InstanceId, RouteName, Topic, Witness,
};

use crate::{
    CallEnd, CallRecorded, CountedStart, DeadReason, Deferral, Deferred, Failure, Fault, FaultKind,
    LeaseTerms, LeaseWish, Leased, NextWitness, NoPermit, Recorded, Republish, Requeued,
    RouteControls, Start, StartCounts, StartKind, TargetName, UndecodableMessage, VersionStanding,
    VersionedEvent,
};

/// A store. For each route, it records what was done with each event, in the same transaction as
/// the effects of the event's handler.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The connection type of the database, which a handler borrows.
    type Connection: Send;

    /// An open transaction. When it is dropped, it is rolled back, and no other caller gets its
    /// connection while this transaction is open.
    type Tx: Send;

    /// Opens a transaction. When the call is cancelled half-way, the driver makes sure that no
    /// later caller gets its connection inside that transaction (H8).
    ///
    /// If all connections of this process are in use, the call waits for a limited time. It then
    /// fails with `Contention`, or with a fault that [may be local](Fault::may_be_local).
    async fn begin(&self) -> Result<Self::Tx, Fault>;

    /// Opens a transaction for a handler that is not trusted (`Handler::TRUSTED`). The session of
    /// the transaction is like a new one, whatever an earlier handler has changed in it.
    async fn begin_for_handler(&self) -> Result<Self::Tx, Fault>;

    /// Stores those of the events that are not stored yet, in a transaction of its own. Called
    /// before [`Store::claim`] if several routes get the same events. Otherwise the first claim
    /// would store them in the transaction of its handler, and the claims of the other routes would
    /// wait until this handler has ended. A driver that allows one writing transaction at a time
    /// does nothing here, because its routes wait for each other in any case.
    ///
    /// The envelopes of one call must be of different events.
    async fn store_events(&self, envelopes: &[&Envelope]) -> Result<(), Fault>;

    /// Stores the events and claims them for `route`. Returns one result for each envelope, in the
    /// order given. Until the transaction ends, it owns the claims that are `Fresh` or `Granted`: a
    /// concurrent claim of the same event waits until the transaction ends, or fails with
    /// `Contention`.
    ///
    /// The envelopes of one call must be of different events.
    async fn claim(
        &self,
        tx: &mut Self::Tx,
        route: &RouteName,
        envelopes: &[&Envelope],
    ) -> Result<Vec<Claimed>, Fault>;

    /// Returns the stored body of each of these events as this transaction sees it, in the order
    /// given; `None` for an event that is not stored. All routes run their handlers on the body
    /// that was stored first.
    async fn stored(
        &self,
        tx: &mut Self::Tx,
        events: &[EventId],
    ) -> Result<Vec<Option<StoredEvent>>, Fault>;

    /// Compares the versions of events that this transaction has claimed as `Fresh` or `Granted`
    /// with the newest version of each key that is done on the route. Returns one result for each
    /// event, in the order given. Called once, after all claims and before the handlers. Until the
    /// transaction ends, it holds the keys: if another transaction compares versions of one of
    /// these keys, it waits, or fails with `Contention`. When one of these events is committed as
    /// done, the version of its key rises. When one of them is leased, its key is busy until the
    /// end of the call is recorded.
    async fn compare_versions(
        &self,
        tx: &mut Self::Tx,
        route: &RouteName,
        events: &[VersionedEvent],
    ) -> Result<Vec<VersionStanding>, Fault>;

    /// Returns the number of an event that this transaction has claimed for the route as `Fresh` or
    /// `Granted`, including one that it has leased since; `None` for any other event.
    fn number(&self, tx: &Self::Tx, route: &RouteName, event: &EventId) -> Option<EventNumber>;

    /// Returns the connection that the handler borrows.
    fn connection<'t>(&self, tx: &'t mut Self::Tx) -> &'t mut Self::Connection;

    /// Called after a handler that is not hookbox's own, whatever it returned. Checks that the
    /// transaction of [`Store::begin_for_handler`] is still open and its session unchanged. Removes
    /// what the handler left in the session (temporary tables, cursors, session locks, ...), so
    /// that the next handler does not find it.
    async fn prove(&self, tx: &mut Self::Tx) -> Result<(), CommitError>;

    /// Sets the savepoint to which [`Store::undo`] goes back. Only the last savepoint counts: what
    /// was written before it stays. If a handler has ended the transaction, no savepoint is set,
    /// and the result is `CommitError::EndedByHandler`.
    async fn savepoint(&self, tx: &mut Self::Tx) -> Result<(), CommitError>;

    /// Undoes what was written in the transaction since [`Store::savepoint`], even if the error of
    /// a statement has left the transaction aborted. The savepoint stays, and so do the claims. In
    /// a transaction of [`Store::begin_for_handler`], the session is checked and cleaned as by
    /// [`Store::prove`], so that handlers can run again. If a handler has ended the transaction,
    /// nothing can be undone, and the result is `CommitError::EndedByHandler`. Every error means
    /// that the transaction must be rolled back.
    async fn undo(&self, tx: &mut Self::Tx) -> Result<(), CommitError>;

    /// Gives back claims of this transaction that are `Fresh` or `Granted`, so that the commit
    /// leaves them as they were before: a new event has no claim, and a retry still waits for the
    /// same attempt. Until the transaction ends, a concurrent claim of the same event waits or
    /// fails, as it does for a claim that was not given back. If a handler has ended the
    /// transaction, nothing is changed, and the result is `CommitError::EndedByHandler`.
    async fn withdraw(
        &self,
        tx: &mut Self::Tx,
        route: &RouteName,
        events: &[EventId],
    ) -> Result<(), CommitError>;

    /// Writes the outcome of receipts in the transaction. A receipt that already has an outcome
    /// keeps it. Apart from [`Store::withdraw`], this is the first statement after the handlers.
    /// So, if [`Store::prove`] was not called, this call is the first to detect that a handler has
    /// left the transaction aborted (25P02 in PostgreSQL) or has ended it. Then it returns
    /// `CommitError::BrokenByHandler` or `CommitError::EndedByHandler`.
    async fn settle(
        &self,
        tx: &mut Self::Tx,
        route: &RouteName,
        settled: &[ReceiptOutcome<'_>],
    ) -> Result<(), CommitError>;

    /// Commits, and checks that the commit took effect. The last statement before the commit is a
    /// guard that fails when a handler has aborted or ended the transaction. Every claim that was
    /// `Fresh` or `Granted` must have been settled or withdrawn.
    async fn commit(&self, tx: Self::Tx) -> Result<(), CommitError>;

    /// Rolls the transaction back. A connection that cannot roll back in time is closed.
    async fn rollback(&self, tx: Self::Tx);

    /// Rolls back a transaction in which a handler has returned an error that is not a fault (see
    /// [`Store::diagnose`]). Later transactions may use the connection, and find nothing in it that
    /// the handler left.
    async fn rollback_failed(&self, tx: Self::Tx);

    /// Records one failed attempt together with its retry or dead letter, in a transaction of its
    /// own. Recording the same attempt again changes nothing. [`Failure::other_digest`] is stored
    /// with the receipt.
    async fn fail(&self, failure: &Failure<'_>) -> Result<Recorded, Fault>;

    /// Defers an event, in a transaction of its own. No attempt is counted. The event waits for the
    /// same attempt as before, and its receipts are retrying. The store keeps the reason, the time
    /// of the first deferral and [`Deferral::other_digest`]. During the wait, copies of the event's
    /// message are not granted; afterwards the attempt is granted to only one of them (see
    /// [`hookbox_event::Redo`]). When the deferral has reached its greatest age, the result is
    /// [`Deferred::Expired`] and nothing is changed.
    async fn defer(&self, deferral: &Deferral<'_>) -> Result<Deferred, Fault>;

    /// Turns claims of this transaction that are `Fresh` or `Granted` into leases, as far as the
    /// target permits calls now. `wishes` are the events to lease, each of them once. Returns one
    /// result for each of them, in the order given. A claim that is leased must not be settled or
    /// withdrawn. Every other claim must be settled or withdrawn.
    ///
    /// After the commit and until the lease ends, the event waits for the end of this attempt: its
    /// receipts are retrying, no copy of its message is granted the attempt, and [`Store::fail`]
    /// and [`Store::defer`] do not change it. If the same attempt was deferred before the lease,
    /// the record of that deferral keeps the time at which the attempt was first deferred.
    ///
    /// All workers share the limits of a target: from this call to the end of the transaction, no
    /// other transaction gets leases for the same target. A call whose end is not recorded counts
    /// as in flight until its lease ends by itself.
    async fn lease(
        &self,
        tx: &mut Self::Tx,
        route: &RouteName,
        terms: LeaseTerms<'_>,
        wishes: &[LeaseWish<'_>],
    ) -> Result<Vec<Leased>, CommitError>;

    /// Records how calls to `target` ended, in a transaction of its own, and what that shows about
    /// the target ([`crate::CallChanges::answers`]). Returns what was recorded of each, in the
    /// order given ([`CallEnd::written_on`]). Recording the same end again changes nothing. The
    /// ends that are passed together must be of different events. `chance` is a random number from
    /// 0 to 1.
    async fn end_calls(
        &self,
        route: &RouteName,
        target: &TargetName,
        ends: &[CallEnd],
        chance: f64,
    ) -> Result<Vec<CallRecorded>, Fault>;

    /// Returns why no calls may be made to the target now, whatever its limits are, and for how
    /// long; `None` if calls may be made, or if the target is not known.
    async fn blocked(&self, target: &TargetName) -> Result<Option<NoPermit>, Fault>;

    /// Stores bytes that are not a readable envelope as a dead letter of `route`. Storing the same
    /// bytes again changes nothing. `Superseded` means that they were stored before; the worker
    /// acknowledges the message then. Bytes that are not stored are always a fault.
    async fn store_undecodable(
        &self,
        undecodable: &UndecodableMessage<'_>,
    ) -> Result<Recorded, Fault>;

    /// Returns how often a handler was started on each of these keys on `route` since a process
    /// last survived such a start, in the order given. The worker reads these counts for
    /// redelivered events.
    async fn starts(&self, route: &RouteName, of: &[Start]) -> Result<Vec<StartCounts>, Fault>;

    /// Counts one more start of the handler on each key, in a transaction of its own. After `Ok`,
    /// the count survives even if the handler ends the process. The process may repeat a call whose
    /// reply it did not receive; the repeated call counts no second start. No key may occur twice
    /// in one call.
    async fn start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        kind: StartKind,
        on: &[Start],
    ) -> Result<(), Fault>;

    /// Resets the counts of starts of these keys, because this process has survived the attempt,
    /// whether it succeeded or failed.
    async fn survived(&self, route: &RouteName, of: &[Start]) -> Result<(), Fault>;

    /// Subtracts one start that this process has counted. The process has survived this start, and
    /// will count another start before it runs the handler again. Starts of other processes stay
    /// counted. If it is not certain that the start was counted, it is subtracted only if this
    /// process counted the last start.
    async fn retract_start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        counted: CountedStart,
        of: Start,
    ) -> Result<(), Fault>;

    /// Takes up to `limit` retries that are due by the store's clock, of the routes that
    /// `republish` accepts. It passes them to `republish` together, and marks those as queued that
    /// `republish` confirms. Two concurrent callers get the same retry only if the database cannot
    /// prevent it. Even then, the attempt is granted to only one delivery (see
    /// [`hookbox_event::Redo`]). A retry that still waits an hour after it was queued is due again.
    async fn requeue_due(&self, limit: u32, republish: &dyn Republish) -> Result<Requeued, Fault>;

    /// Returns what operators have set for routes: pauses, and limits
    /// ([`crate::Ledger::change_route`]). The read is so cheap that every worker can repeat it once
    /// a second.
    async fn route_controls(&self) -> Result<RouteControls, Fault>;

    /// Records an accept report once, however often it is delivered. Those receipts of the report
    /// that have no outcome are kept in a list until they have one.
    async fn account(&self, account: &Account) -> Result<(), Fault>;

    /// Looks for outcomes of the receipts in the list that [`Store::account`] keeps, and removes
    /// from it those that have one.
    async fn check_accounts(&self) -> Result<(), Fault>;

    /// Compares this store with the witness messages that its broker held before this call. They
    /// show whether one of the two was restored. If there is no contradiction and a new witness
    /// message is due, commits one. It covers what the store has recorded now, and names the routes
    /// that have queues at the broker.
    async fn take_witness(
        &self,
        found: &[Witness],
        routes: &[RouteName],
    ) -> Result<NextWitness, Fault>;

    /// Records that the broker confirmed the witness `sequence`, unless a higher one is recorded.
    async fn witness_confirmed(&self, sequence: u64) -> Result<(), Fault>;

    /// Returns the class of the first failure of the database in the chain of the error's causes;
    /// `None` when the error counts as the handler's failure. This result takes precedence over the
    /// class that the handler's author gave the error.
    fn diagnose(&self, error: &(dyn Error + 'static)) -> Option<FaultKind>;

    /// Returns a handler's error and its causes on one line, to be stored. It is the line that
    /// [`crate::describe`] returns, without what the database's library adds to the text of an
    /// error.
    fn describe(&self, error: &(dyn Error + 'static)) -> String {
        crate::describe(error)
    }

    /// Returns what an operator has to do about an error of class [`FaultKind::MissingRight`];
    /// `None` when it is unknown. The text is safe to show, and its length is bounded.
    fn remedy(&self, error: &(dyn Error + 'static)) -> Option<String>;

    /// Makes one cheap round trip to check whether the store is reachable. It must also succeed
    /// while transactions use all other connections of this process.
    async fn ping(&self) -> Result<(), Fault>;

    /// Closes all connections in an orderly way.
    async fn close(&self);
}

/// The result of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The event was never claimed on this route: run the handler. This is attempt 1.
    Fresh,
    /// A retry or replay of the event is due: run the handler.
    Granted {
        /// The number of the attempt to run.
        attempt: u32,
        /// The number of attempts made before the last replay, or 0. The retry policy counts only
        /// the attempts after those.
        attempts_before: u32,
    },
    /// This receipt already has its outcome, or its retry has been superseded: write nothing.
    Redelivered,
    /// Another receipt of the same event, with the same content, was claimed before.
    Duplicate,
    /// Another body is stored for this event id: the content digests differ.
    Conflict,
    /// The claim is committed and has no outcome, because a handler ended its own transaction. The
    /// handler's effects are committed, so it must not run again: make the event a dead letter.
    Orphaned,
}

/// What became of one receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler ran successfully, and its effects are in this transaction.
    Done {
        /// The number of the attempt that succeeded.
        attempt: u32,
    },
    /// The route has claimed the event before, with another receipt. Nothing is to be done.
    Duplicate,
    /// The receipt's body differs from the stored body of the same event id. The receipt's body is
    /// stored under an id of its own, as a dead letter.
    Conflict {
        /// The detail for operators.
        detail: String,
    },
    /// The route has given up on the event, and this transaction did not run its handler.
    Dead {
        /// The reason why the route gave up.
        reason: DeadReason,
        /// The detail for operators, for example the path in the body and the violated schema rule.
        detail: String,
    },
    /// The event is older than one of the same key that is done on the route, or that is done in
    /// this transaction. The handler did not run.
    Stale,
}

/// A receipt and its outcome. For all but `Duplicate`, the same transaction must have claimed the
/// envelope's event as `Fresh` or `Granted`.
#[derive(Debug, Clone)]
pub struct ReceiptOutcome<'a> {
    /// The receipt, with its event.
    pub envelope: &'a Envelope,
    /// The outcome of the receipt.
    pub outcome: Outcome,
    /// For operators: the digest of this receipt's body, if the event is stored with another body
    /// and its source has `on_conflict = "duplicate"`; otherwise `None`.
    pub other_digest: Option<ContentDigest>,
}

/// The stored body of an event, with its digest and metadata.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The topic of the event.
    pub topic: Topic,
    /// The digest of the stored body.
    pub digest: ContentDigest,
    /// Always `None` today; reserved, see [`Envelope::seal`].
    pub seal: Option<String>,
    /// The body as it was received.
    pub body: Bytes,
}

/// The reason why a commit did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A handler ignored an error, or left the transaction or its session in a state that must not
    /// be committed. Nothing is committed, and this counts as a failure of the handler.
    #[error("the handler broke its transaction: {why}")]
    BrokenByHandler {
        /// What the guard before the commit found.
        why: String,
    },
    /// A handler ended the transaction itself (`COMMIT`, `ROLLBACK`). What it committed, or wrote
    /// afterwards, stays in the database. The event is orphaned: never run a handler on it again.
    #[error("the handler ended its transaction: {why}")]
    EndedByHandler {
        /// What the check of the transaction before the commit found.
        why: String,
    },
    /// A dependency of hookbox failed. It is unknown whether the transaction was committed. The
    /// message is redelivered, and its claim then shows whether the transaction was committed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
