//! One transaction: its connection, what it has claimed, and whether it can still be trusted.

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
/// back when it notices.
const ROLLBACK_DEADLINE: Duration = Duration::from_secs(1);

/// An open transaction. Dropping it closes its connection, and so rolls back.
pub struct Tx {
    lease: Lease,
    deadline: Duration,
    /// Whether nothing has failed and no statement is running: false from before each statement
    /// until after its answer, so that a cancellation in between is detected.
    sound: bool,
    /// A handler has had the connection.
    lent: bool,
    /// It is for a handler that is not hookbox's own, and has the savepoint for it.
    guarded: bool,
    /// The state of the session when it began, as the first proof has read it.
    pub(crate) session: Option<Vec<String>>,
    /// The transaction's number at the server.
    pub(crate) id: Option<String>,
    pub(crate) began: Instant,
    /// What was claimed here, and its new state.
    pub(crate) owned: BTreeMap<(RouteName, EventId), OwnedClaim>,
}

/// One claim of this transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnedClaim {
    /// The attempt that it is for.
    pub attempt: u32,
    /// It is a retry or a replay.
    pub granted: bool,
    /// Its new state and its attempts, once it is settled.
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

    /// One that was begun with [`proof::BEGIN`].
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

    /// What resets the session inside of the transaction.
    pub(crate) fn reset(&self) -> String {
        self.lease.reset()
    }

    /// How many transactions and savepoints are open, as far as sqlx knows.
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
        // The names for a refusal, read before the connection is borrowed.
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

    /// Commits, with the guard before it.
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
            // The server answered: nothing was committed, and it is no failure of the server. A
            // deferred constraint of the handler's, say.
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

    /// The last statement before the commit: sets every claim to its final state, and so proves
    /// that the transaction is the one that claimed them, and alive (H9).
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
            // Nothing was claimed or read, so there is nothing of ours to protect.
            return Ok(true);
        };
        match self.run(|c| claims::end(c, id, ends)).await {
            Ok(held) => Ok(held),
            Err(error) => Err(self.attribute(error, "end the claims").await),
        }
    }

    /// Whether the transaction is the one that began.
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
        // A right or a table that hookbox has outside of this transaction: the handler has removed
        // it. Where it is missing elsewhere, too, the handler did not cause that.
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

    /// A transaction in which the server answers nothing any more: it has the savepoint, or it is
    /// another one.
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

    /// Whether a session that no handler has had can do what hookbox does.
    async fn is_well_elsewhere(&mut self) -> bool {
        let Ok(mut connection) = self.lease.another().await else {
            return false;
        };
        let can_settle = within(self.deadline, rights::can_settle(&mut connection)).await;
        goodbye(connection).await;
        can_settle.unwrap_or(false)
    }

    /// Rolls back. The connection is used again only when no handler had it and nothing went
    /// wrong on it.
    pub(crate) async fn rollback(mut self) {
        // Also when the connection is to be closed: the locks are free at once then.
        let rolled_back = self.lease.rollback(ROLLBACK_DEADLINE).await;
        if rolled_back.is_ok() && self.sound && !self.lent {
            self.lease.give_back().await;
        }
    }

    /// The claim of an event in this transaction.
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

/// A handler has ended the transaction.
pub(crate) fn ended() -> CommitError {
    CommitError::EndedByHandler {
        why: "the transaction is not the one that began".to_owned(),
    }
}
