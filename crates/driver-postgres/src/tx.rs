//! One transaction: its connection, its claims, and whether it may still be used and committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::time::{Duration, Instant};

use hookbox_crash::crash_point;
use hookbox_driver::{CommitError, Fault, FaultKind, VersionedEvent};
use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName};
use sqlx::{Executor, PgConnection};

use crate::claims::Final;
use crate::owned_claim::OwnedClaim;
use crate::server::connection::Lease;
use crate::server::prepared_statements;
use crate::server::query_error::{QueryError, text};
use crate::server::refusal::Stage;
use crate::server::rights;
use crate::server::session::keep_plans;
use crate::server::time_limit::{goodbye, within};
use crate::{Options, claims, diagnose, newest};

/// How long a rollback may take. If it takes longer, the connection is closed, and the server rolls
/// back when it notices that the connection is gone.
const ROLLBACK_DEADLINE: Duration = Duration::from_secs(1);

/// The statement that rolls back to the last savepoint which [`crate::proof::BEGIN`] or
/// [`crate::savepoint::set`] has set. No other transaction has a savepoint of this name, so the
/// statement fails if a handler has ended the transaction.
pub(crate) const TO_SAVEPOINT: &str = "rollback to savepoint hookbox_unit";

/// An open transaction. Dropping it closes its connection, so that the server rolls the transaction
/// back.
pub struct Tx {
    lease: Lease,
    deadline: Duration,
    /// Whether every statement so far has succeeded and none is running. It is false while a
    /// statement runs, so that it stays false when the statement is cancelled.
    sound: bool,
    /// Whether a statement has not been answered, because it still runs or was cancelled.
    pub(crate) awaits_answer: bool,
    /// Whether a handler may have used the connection.
    lent: bool,
    /// Whether the transaction is for a handler that is not hookbox's own. Such a transaction
    /// begins with a savepoint, by which hookbox later finds out whether the handler has ended it.
    guarded: bool,
    /// Whether the savepoint of [`TO_SAVEPOINT`] is set.
    pub(crate) has_savepoint: bool,
    /// Whether a statement has shown three things since a handler last used the connection: the
    /// transaction is the one that made the claims, the claims that need no second write are
    /// unchanged, and the commit will be durable.
    pub(crate) is_proved: bool,
    /// The settings of the session at the start of the transaction, as the first proof read them.
    pub(crate) session: Option<Vec<String>>,
    /// The number that the server gave the transaction; `None` before the first claim.
    pub(crate) id: Option<String>,
    pub(crate) began: Instant,
    /// The claims that this transaction made and that only this transaction may settle, by route
    /// and event.
    pub(crate) owned: BTreeMap<(RouteName, EventId), OwnedClaim>,
    /// The events whose claims this transaction has turned into leases, by route.
    pub(crate) leased: BTreeSet<(RouteName, EventId)>,
    /// The events whose versions this transaction has compared, by route and event. It has locked
    /// the keys (of `newest`) of these events.
    pub(crate) versions: BTreeMap<(RouteName, EventId), VersionedEvent>,
    /// The keys of `newest` to which this transaction has given the version of an event that is not
    /// done yet, by route and key.
    pub(crate) anticipated: BTreeMap<(RouteName, KeyDigest), EventNumber>,
    /// The numbers of the events that this transaction has claimed or looked up.
    pub(crate) numbers: HashMap<EventId, EventNumber>,
}

impl Tx {
    pub(crate) fn new(lease: Lease, deadline: Duration) -> Self {
        Self {
            lease,
            deadline,
            sound: true,
            awaits_answer: false,
            lent: false,
            guarded: false,
            has_savepoint: false,
            is_proved: false,
            session: None,
            id: None,
            began: Instant::now(),
            owned: BTreeMap::new(),
            leased: BTreeSet::new(),
            versions: BTreeMap::new(),
            anticipated: BTreeMap::new(),
            numbers: HashMap::new(),
        }
    }

    /// Creates a transaction that was opened with [`crate::proof::BEGIN`].
    pub(crate) fn guarded(lease: Lease, deadline: Duration) -> Self {
        Self {
            guarded: true,
            has_savepoint: true,
            ..Self::new(lease, deadline)
        }
    }

    pub(crate) fn lend(&mut self) -> &mut PgConnection {
        self.lent = true;
        self.is_proved = false;
        if self.guarded {
            self.lease.lend();
        }
        self.lease.connection()
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    pub(crate) fn options(&self) -> &Options {
        self.lease.options()
    }

    /// Returns the statements that reset the session inside the transaction of an attempt.
    pub(crate) fn reset(&self) -> String {
        let reset = self.lease.reset();
        format!("{reset}{};", keep_plans!())
    }

    /// Returns how many transactions and savepoints are open on the connection, as far as sqlx
    /// knows.
    pub(crate) fn depth(&self) -> usize {
        self.lease.depth()
    }

    /// Runs a statement with the transaction's time limit for one answer.
    pub(crate) async fn run<'t, T, F>(
        &'t mut self,
        statement: impl FnOnce(&'t mut PgConnection) -> F,
    ) -> Result<T, QueryError>
    where
        F: Future<Output = Result<T, sqlx::Error>> + Send + 't,
    {
        self.sound = false;
        self.awaits_answer = true;
        // The text of an error may contain the names of role, database and schema. They are read
        // before the statement runs, because it borrows the connection.
        let names = self.lease.names();
        match within(self.deadline, statement(self.lease.connection())).await {
            Ok(answer) => {
                self.sound = true;
                self.awaits_answer = false;
                Ok(answer)
            }
            Err(error) => {
                self.awaits_answer = matches!(error, QueryError::Unresponsive { .. });
                Err(error.refused_at(Stage::Use, &names))
            }
        }
    }

    /// Commits a transaction in which no handler has run, so that it needs no guard.
    pub(crate) async fn commit_ours(mut self) -> Result<(), Fault> {
        self.lease
            .commit(self.deadline)
            .await
            .map_err(|error| error.ours("commit a transaction"))?;
        self.lease.give_back().await;
        Ok(())
    }

    /// Runs the guard, and then commits. The guard checks that the commit will cover exactly what
    /// was claimed.
    pub(crate) async fn commit(mut self) -> Result<(), CommitError> {
        let broken = |why: &str| {
            Err(CommitError::BrokenByHandler {
                why: why.to_owned(),
            })
        };
        match self.lease.depth() {
            1 => {}
            0 => return Err(ended()),
            _ => return broken("the handler left a savepoint open"),
        }
        self.take_back().await?;
        if !self.guard().await? {
            if !self.is_alive().await? {
                return Err(ended());
            }
            return Err(changed());
        }
        crash_point!("postgres.after_guard");
        match self.lease.commit(self.deadline).await {
            Ok(()) => {
                self.lease.give_back().await;
                Ok(())
            }
            // The server answered that it has committed nothing, and the reason is not a failure of
            // the server. It may be, for example, a deferred constraint of the handler's tables.
            Err(QueryError::Database(error @ sqlx::Error::Database(_)))
                if diagnose::diagnose(&error).is_none() =>
            {
                Err(CommitError::BrokenByHandler {
                    why: format!("the commit was refused: {}", text(&error)),
                })
            }
            Err(error) => Err(error.ours("commit a transaction").into()),
        }
    }

    /// Removes those versions of `newest` that were written before the handler ran and whose events
    /// are not done in the end. Only transactions for hookbox's own handlers write versions so
    /// early.
    async fn take_back(&mut self) -> Result<(), CommitError> {
        if self.anticipated.is_empty() {
            return Ok(());
        }
        let anticipated = std::mem::take(&mut self.anticipated);
        let taken = self.run(|c| newest::take_back(c, &anticipated)).await;
        match taken {
            Ok(()) => Ok(()),
            Err(error) => Err(self
                .attribute(error, "remove the versions of events that are not done")
                .await),
        }
    }

    /// Runs the guard, the last statement before the commit. It changes every claim that was
    /// inserted in another state to its final state. Its success proves that the transaction which
    /// made the claims is still open (H9). Returns whether it succeeded.
    ///
    /// The guard is skipped if no claim has to change and an earlier statement has proved the same
    /// (`is_proved`).
    async fn guard(&mut self) -> Result<bool, CommitError> {
        let mut ends = Vec::with_capacity(self.owned.len());
        for ((route, event), owned) in &self.owned {
            match owned.end {
                Some(_) if owned.is_final() && self.is_proved => {}
                Some((state, attempts)) => ends.push(Final {
                    route: route.clone(),
                    event: self.number(event)?,
                    written: owned.written,
                    state,
                    attempts,
                }),
                None => {
                    let doing = "commit a transaction in which a claim has no outcome";
                    return Err(Fault::plain(FaultKind::Internal, doing).into());
                }
            }
        }
        let Some(id) = self.id.clone() else {
            // Nothing was claimed in this transaction, so the guard has nothing to check.
            return Ok(true);
        };
        if ends.is_empty() && self.is_proved {
            return Ok(true);
        }
        match self.run(|c| claims::end(c, id, ends)).await {
            Ok(held) => Ok(held),
            Err(error) => Err(self.attribute(error, "write the final claim states").await),
        }
    }

    /// Returns whether the current transaction at the server is still the one that was opened.
    pub(crate) async fn is_alive(&mut self) -> Result<bool, CommitError> {
        let id = self.id.clone();
        match self.run(claims::transaction).await {
            Ok(found) => Ok(found == id),
            Err(error) => Err(self
                .attribute(error, "check whether the transaction is open")
                .await),
        }
    }

    /// Decides who caused an error of one of hookbox's own statements after a handler has run: the
    /// handler or the database.
    pub(crate) async fn attribute(
        &mut self,
        error: QueryError,
        doing: &'static str,
    ) -> CommitError {
        let cause = match &error {
            QueryError::Database(cause) | QueryError::Refused { error: cause, .. } => cause,
            QueryError::Unresponsive { .. } => return error.ours(doing).into(),
        };
        if diagnose::is_aborted(cause) {
            return self.aborted_or_ended(doing).await;
        }
        // hookbox's statement lacked a right or a table. If another session has the right and the
        // table, the handler has removed one of them in this transaction. If they are missing there
        // as well, the handler is not the cause.
        if self.guarded && diagnose::is_refused(cause) && self.is_well_elsewhere().await {
            return CommitError::BrokenByHandler {
                why: format!(
                    "after the handler, hookbox could not {doing}: {}",
                    text(cause)
                ),
            };
        }
        error.ours(doing).into()
    }

    /// Classifies a transaction in which the server rejects every statement. If the savepoint
    /// exists, the transaction is aborted; if not, a handler has ended the transaction.
    async fn aborted_or_ended(&mut self, doing: &'static str) -> CommitError {
        let aborted = CommitError::BrokenByHandler {
            why: "a statement failed, and the handler ignored the error".to_owned(),
        };
        if !self.guarded {
            return aborted;
        }
        let back = sqlx::raw_sql(TO_SAVEPOINT);
        match self.run(|c| c.execute(back)).await {
            Ok(_) => aborted,
            Err(QueryError::Database(error)) if diagnose::has_no_savepoint(&error) => ended(),
            Err(error) => error.ours(doing).into(),
        }
    }

    /// Returns whether the role can settle events in another session, which no handler has used.
    async fn is_well_elsewhere(&mut self) -> bool {
        let Ok(mut connection) = self.lease.another().await else {
            return false;
        };
        let can_settle = within(self.deadline, rights::can_settle(&mut connection)).await;
        goodbye(connection).await;
        can_settle.unwrap_or(false)
    }

    /// Rolls the transaction back. Its connection is reused only when no handler has used it and no
    /// statement has failed on it.
    pub(crate) async fn rollback(mut self) {
        // The rollback is sent even if the connection is closed afterwards, because it releases the
        // locks at once.
        let rolled_back = self.lease.rollback(ROLLBACK_DEADLINE).await;
        if rolled_back.is_ok() && self.sound && !self.lent {
            self.lease.give_back().await;
        }
    }

    /// See [`hookbox_driver::Store::rollback_failed`]. A new connection for each failed event would
    /// cost more than the event. The connection is closed if the handler has left a savepoint open,
    /// if the last statement of hookbox's own has failed, or if the server does not answer.
    pub(crate) async fn rollback_failed(mut self) {
        let rolled_back = self.lease.rollback(ROLLBACK_DEADLINE).await;
        if rolled_back.is_err() || !self.sound || self.lease.depth() > 0 {
            return;
        }
        if self.guarded {
            // The next transaction resets the session, but not its prepared statements.
            let forgotten = prepared_statements::forget_all(self.lease.connection());
            if within(ROLLBACK_DEADLINE, forgotten).await.is_err() {
                return;
            }
        }
        self.lease.give_back().await;
    }

    /// Returns the number of an event that this transaction has claimed or looked up; an error if
    /// it has done neither.
    pub(crate) fn number(&self, event: &EventId) -> Result<EventNumber, Fault> {
        self.numbers.get(event).copied().ok_or_else(|| {
            let doing = "use an event that this transaction has not looked up";
            Fault::plain(FaultKind::Internal, doing)
        })
    }

    /// Returns the claim that this transaction made of an event; an error if it made none.
    pub(crate) fn owned_mut(
        &mut self,
        route: &RouteName,
        event: &EventId,
    ) -> Result<&mut OwnedClaim, Fault> {
        self.owned.get_mut(&(route.clone(), *event)).ok_or_else(|| {
            let doing = "settle, withdraw or lease an event that this transaction has not claimed";
            Fault::plain(FaultKind::Internal, doing)
        })
    }
}

/// Returns the error for a transaction whose claims are not those that it has made.
pub(crate) fn changed() -> CommitError {
    CommitError::BrokenByHandler {
        why: "the claims or the synchronous_commit of the transaction were changed".to_owned(),
    }
}

/// Returns the error for a transaction that a handler has ended.
pub(crate) fn ended() -> CommitError {
    CommitError::EndedByHandler {
        why: "the transaction that hookbox opened is not open any more".to_owned(),
    }
}
