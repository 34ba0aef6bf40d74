//! One transaction: its connection, its claims, and whether it can still be trusted.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use hookbox_crash::crash_point;
use hookbox_driver::{ClaimState, CommitError, Fault, FaultKind};
use hookbox_event::{EventId, RouteName};
use sqlx::{Executor, PgConnection};

use crate::connection::{Lease, QueryError, goodbye, within};
use crate::refusal::Stage;
use crate::{Options, claims, connection, diagnose, proof, rights};

/// How long a rollback may take. A connection that needs longer is closed, and the server rolls
/// back when it notices that.
const ROLLBACK_DEADLINE: Duration = Duration::from_secs(1);

/// An open transaction. Dropping it closes its connection, which rolls it back.
pub struct Tx {
    lease: Lease,
    deadline: Duration,
    /// Whether nothing has failed and no statement is running. It is false from before each
    /// statement until after its answer, so that a cancellation in between is detected.
    sound: bool,
    /// Whether a handler has used the connection.
    lent: bool,
    /// Whether the transaction is for a handler that is not hookbox's own, and has a savepoint for
    /// the proof.
    guarded: bool,
    /// The state of the session at the start of the transaction, as the first proof read it.
    pub(crate) session: Option<Vec<String>>,
    /// The transaction's number at the server.
    pub(crate) id: Option<String>,
    pub(crate) began: Instant,
    /// The claims that only this transaction may settle, by route and event.
    pub(crate) owned: BTreeMap<(RouteName, EventId), OwnedClaim>,
}

/// One claim that is `Fresh` or `Granted` in this transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnedClaim {
    /// The number of the attempt that was claimed.
    pub attempt: u32,
    /// Whether the claim is for a retry or replay rather than for a first attempt.
    pub granted: bool,
    /// The final state and the number of attempts, once the claim is settled.
    pub end: Option<(ClaimState, u32)>,
}

impl Tx {
    pub(crate) fn new(lease: Lease, deadline: Duration) -> Self {
        Self {
            lease,
            deadline,
            sound: true,
            lent: false,
            guarded: false,
            session: None,
            id: None,
            began: Instant::now(),
            owned: BTreeMap::new(),
        }
    }

    /// Creates a transaction that was opened with [`proof::BEGIN`].
    pub(crate) fn guarded(lease: Lease, deadline: Duration) -> Self {
        Self {
            guarded: true,
            ..Self::new(lease, deadline)
        }
    }

    pub(crate) fn lend(&mut self) -> &mut PgConnection {
        self.lent = true;
        if self.guarded {
            self.lease.lend();
        }
        self.lease.connection()
    }

    pub(crate) fn options(&self) -> &Options {
        self.lease.options()
    }

    /// Returns the statements that reset the session inside the transaction.
    pub(crate) fn reset(&self) -> String {
        self.lease.reset()
    }

    /// Returns how many transactions and savepoints are open, as far as sqlx knows.
    pub(crate) fn depth(&self) -> usize {
        self.lease.depth()
    }

    /// Runs a statement under the deadline.
    pub(crate) async fn run<'t, T, F>(
        &'t mut self,
        statement: impl FnOnce(&'t mut PgConnection) -> F,
    ) -> Result<T, QueryError>
    where
        F: Future<Output = Result<T, sqlx::Error>> + Send + 't,
    {
        self.sound = false;
        // The names for a refusal are read before the connection is borrowed.
        let names = self.lease.names();
        match connection::within(self.deadline, statement(self.lease.connection())).await {
            Ok(answer) => {
                self.sound = true;
                Ok(answer)
            }
            Err(error) => Err(error.refused_at(Stage::Use, &names)),
        }
    }

    /// Commits a transaction in which no handler ran.
    pub(crate) async fn commit_ours(mut self) -> Result<(), Fault> {
        self.lease
            .commit(self.deadline)
            .await
            .map_err(|error| error.ours("commit"))?;
        self.lease.give_back().await;
        Ok(())
    }

    /// Runs the guard, and then commits.
    pub(crate) async fn commit(mut self) -> Result<(), CommitError> {
        let broken = |why: &str| {
            Err(CommitError::BrokenByHandler {
                why: why.to_owned(),
            })
        };
        match self.lease.depth() {
            1 => {}
            0 => return Err(ended()),
            _ => return broken("a savepoint was left open"),
        }
        if !self.guard().await? {
            if !self.is_alive().await? {
                return Err(ended());
            }
            return broken("its claims were changed, or its synchronous_commit was turned down");
        }
        crash_point!("postgres.after_guard");
        match self.lease.commit(self.deadline).await {
            Ok(()) => {
                self.lease.give_back().await;
                Ok(())
            }
            // The server answered that nothing was committed, and it is no failure of the server.
            // One cause is a deferred constraint of the handler's tables.
            Err(QueryError::Database(error @ sqlx::Error::Database(_)))
                if diagnose::diagnose(&error).is_none() =>
            {
                Err(CommitError::BrokenByHandler {
                    why: format!("the commit was refused: {}", connection::text(&error)),
                })
            }
            Err(error) => Err(error.ours("commit").into()),
        }
    }

    /// Runs the guard, the last statement before the commit. It sets every claim to its final
    /// state, which proves that the transaction is the one that claimed them, and that it is still
    /// open (H9).
    async fn guard(&mut self) -> Result<bool, CommitError> {
        let mut ends = Vec::with_capacity(self.owned.len());
        for ((route, event), owned) in &self.owned {
            match owned.end {
                Some((state, attempts)) => ends.push((route.clone(), *event, state, attempts)),
                None => {
                    let doing = "commit: a claim has no outcome";
                    return Err(Fault::plain(FaultKind::Internal, doing).into());
                }
            }
        }
        let Some(id) = self.id.clone() else {
            // Nothing was claimed or read, so there is nothing to protect.
            return Ok(true);
        };
        match self.run(|c| claims::end(c, id, ends)).await {
            Ok(held) => Ok(held),
            Err(error) => Err(self.attribute(error, "end the claims").await),
        }
    }

    /// Returns whether the transaction is the one that was opened.
    async fn is_alive(&mut self) -> Result<bool, CommitError> {
        let id = self.id.clone();
        match self.run(claims::transaction).await {
            Ok(found) => Ok(found == id),
            Err(error) => Err(self.attribute(error, "check the transaction").await),
        }
    }

    /// Attributes an error of a statement of hookbox's own after a handler: to the handler or to
    /// the database.
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
        // Hookbox has this right or table outside of this transaction, so the handler has removed
        // it. If it is missing elsewhere, too, the handler did not cause that.
        if self.guarded && diagnose::is_refused(cause) && self.is_well_elsewhere().await {
            return CommitError::BrokenByHandler {
                why: format!(
                    "hookbox could no longer {doing} in it: {}",
                    connection::text(cause)
                ),
            };
        }
        error.ours(doing).into()
    }

    /// Classifies a transaction in which the server rejects every statement: with the savepoint, it
    /// is aborted; without it, a handler ended it.
    async fn aborted_or_ended(&mut self, doing: &'static str) -> CommitError {
        let aborted = CommitError::BrokenByHandler {
            why: "a statement failed in it, and the error was swallowed".to_owned(),
        };
        if !self.guarded {
            return aborted;
        }
        let back = sqlx::raw_sql(proof::TO_SAVEPOINT);
        match self.run(|c| c.execute(back)).await {
            Ok(_) => aborted,
            Err(QueryError::Database(error)) if diagnose::has_no_savepoint(&error) => ended(),
            Err(error) => error.ours(doing).into(),
        }
    }

    /// Returns whether hookbox's statements work in a session that no handler has used.
    async fn is_well_elsewhere(&mut self) -> bool {
        let Ok(mut connection) = self.lease.another().await else {
            return false;
        };
        let can_settle = within(self.deadline, rights::can_settle(&mut connection)).await;
        goodbye(connection).await;
        can_settle.unwrap_or(false)
    }

    /// Rolls back. The connection is reused only when no handler had it and nothing failed on it.
    pub(crate) async fn rollback(mut self) {
        // This happens even when the connection is to be closed, because it frees the locks at
        // once.
        let rolled_back = self.lease.rollback(ROLLBACK_DEADLINE).await;
        if rolled_back.is_ok() && self.sound && !self.lent {
            self.lease.give_back().await;
        }
    }

    /// Returns the claim of an event in this transaction.
    pub(crate) fn owned_mut(
        &mut self,
        route: &RouteName,
        event: &EventId,
    ) -> Result<&mut OwnedClaim, Fault> {
        self.owned.get_mut(&(route.clone(), *event)).ok_or_else(|| {
            let doing = "settle: the event was not claimed in this transaction";
            Fault::plain(FaultKind::Internal, doing)
        })
    }
}

/// Returns the error for a transaction that a handler has ended.
pub(crate) fn ended() -> CommitError {
    CommitError::EndedByHandler {
        why: "the transaction is not the one that began".to_owned(),
    }
}
