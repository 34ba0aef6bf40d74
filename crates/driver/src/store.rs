//! What a store must promise to the worker.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_event::{
    Account, ContentDigest, Envelope, EventId, InstanceId, RouteName, Topic, Witness,
};
use serde::{Deserialize, Serialize};

use crate::{
    CountedStart, DeadReason, Deferral, Deferred, Fault, FaultKind, NextWitness, Republish,
    Requeued, Start, StartCounts, StartKind,
};

/// A store: remembers, per route, what was done with each event, in the same transaction as the
/// effects of the handler that did it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What a handler works with: the database's own connection type.
    type Connection: Send;

    /// An open transaction. Dropping it rolls back, and never returns a dirty connection to use.
    type Tx: Send;

    /// Opens a transaction. Must not be cancelled half-way by callers that keep using the
    /// store's connection; drivers make it harmless when it is.
    async fn begin(&self) -> Result<Self::Tx, Fault>;

    /// Opens a transaction for a handler that is not hookbox's own. Its session is as a new one
    /// would be, whatever an earlier handler did to it.
    async fn begin_for_handler(&self) -> Result<Self::Tx, Fault>;

    /// Records the events and claims them for `route`. Returns one result for each envelope, in the
    /// order given. Claims that are `Fresh` or `Granted` belong to this transaction until it ends;
    /// a concurrent claim of the same event waits for it, or is `Contention`.
    ///
    /// No two envelopes of one call may be of the same event.
    async fn claim(
        &self,
        tx: &mut Self::Tx,
        route: &RouteName,
        envelopes: &[&Envelope],
    ) -> Result<Vec<Claimed>, Fault>;

    /// What is stored of these events as this transaction sees it, in the order given: the body
    /// that came first, which is the one that every route runs. `None` for one that is not stored.
    async fn stored(
        &self,
        tx: &mut Self::Tx,
        events: &[EventId],
    ) -> Result<Vec<Option<StoredEvent>>, Fault>;

    /// What the handler borrows.
    fn connection<'t>(&self, tx: &'t mut Self::Tx) -> &'t mut Self::Connection;

    /// Proves, after a handler that is not hookbox's own and whatever it returned, that the
    /// transaction of [`Store::begin_for_handler`] is still the one that began, and that its
    /// session is as it was. What a handler left in the session (temporary tables, cursors, session
    /// locks, ...) is removed, so that the next handler finds none of it.
    async fn prove(&self, tx: &mut Self::Tx) -> Result<(), CommitError>;

    /// Writes the outcome of receipts into the transaction. A receipt that has an outcome already
    /// keeps it. It is the first statement after the handlers, so a transaction that a handler
    /// left aborted (25P02 in PostgreSQL) or ended shows here, where no proof has shown it:
    /// `CommitError::BrokenByHandler` or `CommitError::EndedByHandler`.
    async fn settle(
        &self,
        tx: &mut Self::Tx,
        route: &RouteName,
        settled: &[ReceiptOutcome<'_>],
    ) -> Result<(), CommitError>;

    /// Commits, and proves that it took: the last statement before the commit is a guard that
    /// fails when the transaction was aborted or ended behind our back. Every claim that was
    /// `Fresh` or `Granted` must have been settled.
    async fn commit(&self, tx: Self::Tx) -> Result<(), CommitError>;

    /// Rolls back. What cannot be rolled back in time is closed.
    async fn rollback(&self, tx: Self::Tx);

    /// Records one failed attempt together with what follows from it, in one transaction of its
    /// own. Recording the same attempt twice changes nothing the second time. The receipt keeps the
    /// digest of its own body, as where it is settled.
    async fn fail(&self, failure: &Failure<'_>) -> Result<Recorded, Fault>;

    /// Defers an event without an attempt, in one transaction of its own: it waits for the same
    /// attempt as before, its receipts are retrying, and the store keeps why and since when. The
    /// receipt keeps the digest of its own body. Until that wait is over, copies of its message are
    /// not granted; afterwards the fence of [`hookbox_event::Redo`] keeps the effect single. Once
    /// deferred for longer than its greatest age, it is [`Deferred::Expired`] and nothing is
    /// changed.
    async fn defer(&self, deferral: &Deferral<'_>) -> Result<Deferred, Fault>;

    /// Stores bytes that could not be read as an envelope, as a dead letter of `route`. Idempotent
    /// by the bytes.
    async fn store_undecodable(
        &self,
        undecodable: &UndecodableMessage<'_>,
    ) -> Result<Recorded, Fault>;

    /// How often a handler was started on each of these on `route` since a process last survived
    /// that, in the order given. The worker calls it for what is redelivered.
    async fn starts(&self, route: &RouteName, of: &[Start]) -> Result<Vec<StartCounts>, Fault>;

    /// Counts one more start of the handler on each, in a transaction of its own: once it is
    /// `Ok`, the count outlives this process, whatever the handler does to it. A repeated call of
    /// the same process is not another start: it may not have received the reply to the first. None
    /// may stand twice in one call.
    async fn start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        kind: StartKind,
        on: &[Start],
    ) -> Result<(), Fault>;

    /// Forgets the starts of these: this process has survived the attempt, be it a success or a
    /// failure.
    async fn survived(&self, route: &RouteName, of: &[Start]) -> Result<(), Fault>;

    /// Takes back one start: this process is alive, and its handler does not run until it counts
    /// the next one. The starts of others stay. An uncertain one is taken back only where this
    /// process was the last to count, and so at most once.
    async fn retract_start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        counted: CountedStart,
        of: Start,
    ) -> Result<(), Fault>;

    /// Takes up to `limit` retries that are due by the store's own clock, of the routes that
    /// `republish` accepts, passes each to it, and marks as queued those it confirmed. Two callers
    /// at once do not get the same retry where the database can prevent it; where they do, the
    /// fence of [`hookbox_event::Redo`] keeps the effect single. A retry that was queued and made
    /// no progress for an hour is due again.
    async fn requeue_due(&self, limit: u32, republish: &dyn Republish) -> Result<Requeued, Fault>;

    /// Records an accept report: once, however often it is delivered. Of its receipts, those
    /// without an outcome are kept until they have one.
    async fn account(&self, account: &Account) -> Result<(), Fault>;

    /// Forgets the kept receipts of accept reports that have their outcome by now.
    async fn check_accounts(&self) -> Result<(), Fault>;

    /// Compares this store with the witnesses that its broker held before this call, and where
    /// nothing contradicts commits the next witness, if there is one to publish: of what is
    /// recorded now, with the routes whose queues the broker has.
    async fn take_witness(
        &self,
        found: &[Witness],
        routes: &[RouteName],
    ) -> Result<NextWitness, Fault>;

    /// Records that the broker has confirmed the witness of this sequence number; the highest
    /// counts.
    async fn witness_confirmed(&self, sequence: u64) -> Result<(), Fault>;

    /// Whether an error, anywhere in its chain of causes, is a failure of the database rather than
    /// of the handler: `None` when it is not ours. It outranks the class that the handler's author
    /// gave it.
    fn diagnose(&self, error: &(dyn Error + 'static)) -> Option<FaultKind>;

    /// An error of a handler's and its causes on one line, for the store: as [`crate::describe`]
    /// has it, without what the database's library adds that is not about the error.
    fn describe(&self, error: &(dyn Error + 'static)) -> String {
        crate::describe(error)
    }

    /// What an operator is to do about an error that is [`FaultKind::MissingRight`], as far as the
    /// database reports it: safe to show, and bounded.
    fn remedy(&self, error: &(dyn Error + 'static)) -> Option<String>;

    /// One cheap round trip, to check whether the store is reachable.
    async fn ping(&self) -> Result<(), Fault>;

    /// Ends all connections in an orderly way.
    async fn close(&self);
}

/// The result of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Never seen on this route: run the handler. This is attempt 1.
    Fresh,
    /// A retry or replay that is due: run the handler.
    Granted {
        /// The attempt to run.
        attempt: u32,
        /// The attempts that had been made when the present round began (0, or the count at the
        /// last replay): the retry policy counts from here.
        attempts_before: u32,
    },
    /// This very receipt has its outcome already: nothing to write. (Or a retry that is no
    /// longer wanted.)
    Redelivered,
    /// Another receipt of the same event, with the same content.
    Duplicate,
    /// Another body under the same event id.
    Conflict,
    /// A claim that was committed without an outcome: a handler ended its transaction. Its
    /// effects stand, so it must not run again: dead-letter it.
    Orphaned,
}

/// Where an event stands on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// Claimed by a transaction that has not settled it. Only visible to others when orphaned.
    Running,
    /// The handler's effects are committed.
    Done,
    /// Waiting for its next attempt.
    Retrying,
    /// Given up; see the dead letter.
    Dead,
}

impl ClaimState {
    /// The value in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ClaimState::Running => "running",
            ClaimState::Done => "done",
            ClaimState::Retrying => "retrying",
            ClaimState::Dead => "dead",
        }
    }
}

/// The outcome of one receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler ran and its effects are in this transaction.
    Done {
        /// Which attempt it was.
        attempt: u32,
    },
    /// Nothing to do: the event was claimed before.
    Duplicate,
    /// Another body under a known event id; kept under an id of its own as a dead letter.
    Conflict {
        /// What an operator should know.
        detail: String,
    },
    /// Given up without running the handler (again).
    Dead {
        /// Why.
        reason: DeadReason,
        /// What an operator should know: the path and the rule that was broken, say.
        detail: String,
    },
}

/// One receipt and its outcome. For `Done`, `Conflict` and `Dead` the envelope's event must have
/// been claimed as `Fresh` or `Granted` in the same transaction.
#[derive(Debug, Clone)]
pub struct ReceiptOutcome<'a> {
    /// The receipt.
    pub envelope: &'a Envelope,
    /// Its outcome.
    pub outcome: Outcome,
    /// The digest of the receipt's own body, where the event is stored with another body and its id
    /// decides. It is kept with the receipt, for operators.
    pub other_digest: Option<ContentDigest>,
}

/// The stored body of an event, with what belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its topic.
    pub topic: Topic,
    /// The digest of the body.
    pub digest: ContentDigest,
    /// Reserved: see [`Envelope::seal`].
    pub seal: Option<String>,
    /// The body, as received.
    pub body: Bytes,
}

/// Why a commit did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A handler swallowed an error, or left the transaction or its session so that it must not
    /// be committed. Nothing is committed; it counts as the handler's failure.
    #[error("the handler broke its transaction: {why}")]
    BrokenByHandler {
        /// What the guard saw.
        why: String,
    },
    /// A handler ended the transaction itself (`COMMIT`, `ROLLBACK`). What it committed, or wrote
    /// afterwards, stands, so that it must never run again: its event is orphaned.
    #[error("the handler ended its transaction: {why}")]
    EndedByHandler {
        /// What the guard saw.
        why: String,
    },
    /// A fault of our own. Whether it was committed is unknown; redelivery will decide.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How an attempt failed, by the class that the handler's author or the engine gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The handler failed in a way that may pass.
    Transient,
    /// The handler will never accept this event.
    Permanent,
    /// The handler panicked.
    Panicked,
    /// The handler took longer than its time limit.
    TimedOut,
    /// The handler swallowed a database error, changed its session or ended the transaction.
    BrokeTransaction,
}

impl FailureClass {
    /// The name in tables, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureClass::Transient => "transient",
            FailureClass::Permanent => "permanent",
            FailureClass::Panicked => "panicked",
            FailureClass::TimedOut => "timed_out",
            FailureClass::BrokeTransaction => "broke_transaction",
        }
    }
}

/// One failed attempt.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// On which route.
    pub route: &'a RouteName,
    /// Of which receipt.
    pub envelope: &'a Envelope,
    /// Which attempt failed, from 1.
    pub attempt: u32,
    /// The attempts before the present round, as the claim returned them; 0 for a fresh event.
    pub attempts_before: u32,
    /// The digest of the receipt's own body, where the event is stored with another body and its id
    /// decides; as in [`ReceiptOutcome`].
    pub other_digest: Option<ContentDigest>,
    /// How.
    pub class: FailureClass,
    /// The error and its causes. It goes into the store, where bodies are, and never into a log.
    pub error: String,
    /// How long the attempt took.
    pub took: Duration,
    /// What follows.
    pub then: Then,
}

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Another attempt, not before so long from now by the store's clock.
    Retry {
        /// How long.
        after: Duration,
    },
    /// A dead letter.
    Dead {
        /// Why.
        reason: DeadReason,
    },
}

/// The result of recording a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded.
    Recorded,
    /// It was recorded before, or the event has changed state meanwhile: nothing was changed.
    Superseded,
}

/// Bytes that could not be read as an envelope.
#[derive(Debug, Clone)]
pub struct UndecodableMessage<'a> {
    /// The route whose queue they came from.
    pub route: &'a RouteName,
    /// The bytes.
    pub bytes: &'a Bytes,
    /// Why they could not be read or delivered.
    pub reason: DeadReason,
    /// What an operator should know.
    pub detail: String,
}
