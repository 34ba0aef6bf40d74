//! One transaction: its connection, what it has claimed, and whether it can still be trusted.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use hookbox_crash::crash_point;
use hookbox_driver::{ClaimState, CommitError, Fault, FaultKind};
use hookbox_event::{EventId, RouteName};
use sqlx::PgConnection;

use crate::connection::{AskError, Lease};
use crate::{claims, connection, diagnose};

/// How long a rollback may take. A connection that needs longer is closed, and the server rolls
/// back when it notices.
const ROLLBACK_DEADLINE: Duration = Duration::from_secs(1);

/// An open transaction. Dropping it closes its connection, and so rolls back.
pub struct Tx {
    lease: Lease,
    deadline: Duration,
    /// Nothing has gone wrong and nothing is on its way: false from before each statement until
    /// after its answer, so that a cancellation in between is seen.
    sound: bool,
    /// A handler has had the connection.
    lent: bool,
    /// The transaction's number at the server.
    pub(crate) id: Option<String>,
    pub(crate) began: Instant,
    /// What was claimed here, and what became of it.
    pub(crate) owned: BTreeMap<(RouteName, EventId), Owned>,
}

/// One claim of this transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owned {
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
            id: None,
            began: Instant::now(),
            owned: BTreeMap::new(),
        }
    }

    pub(crate) fn lend(&mut self) -> &mut PgConnection {
        self.lent = true;
        self.lease.connection()
    }

    /// Runs a statement under the deadline.
    pub(crate) async fn run<'t, T, F>(
        &'t mut self,
        statement: impl FnOnce(&'t mut PgConnection) -> F,
    ) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, sqlx::Error>> + Send + 't,
    {
        self.sound = false;
        let answer = connection::ask(self.deadline, statement(self.lease.connection())).await?;
        self.sound = true;
        Ok(answer)
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
        if self.lease.depth() != 1 {
            return broken("a savepoint was left open, or the transaction was ended");
        }
        if !self.guard().await? {
            return broken(
                "it was ended before hookbox could commit it, or its synchronous_commit was \
                 turned down",
            );
        }
        crash_point!("postgres.after_guard");
        match self.lease.commit(self.deadline).await {
            Ok(()) => {
                self.lease.give_back().await;
                Ok(())
            }
            // The server spoke: nothing was committed, and it is not the server's own trouble.
            // A deferred constraint of the handler's, say.
            Err(AskError::Database(error @ sqlx::Error::Database(_)))
                if diagnose::diagnose(&error).is_none() =>
            {
                Err(CommitError::BrokenByHandler {
                    why: format!("the commit was refused: {error}"),
                })
            }
            Err(error) => Err(error.ours("commit").into()),
        }
    }

    /// The last statement before the commit: takes every claim to its end, and so proves that
    /// the transaction is the one that claimed them, and alive (H9).
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
            // Nothing was claimed or looked up, so there is nothing of ours to protect.
            return Ok(true);
        };
        let held = self.run(|c| claims::end(c, id, ends)).await;
        held.map_err(|error| broken_or_fault(error, "end the claims"))
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

    /// What an event that is claimed here is about to become.
    pub(crate) fn owned_mut(
        &mut self,
        route: &RouteName,
        event: &EventId,
    ) -> Result<&mut Owned, Fault> {
        self.owned.get_mut(&(route.clone(), *event)).ok_or_else(|| {
            let doing = "settle: the event was not claimed in this transaction";
            Fault::plain(FaultKind::Internal, doing)
        })
    }
}

/// An error of a statement of ours that comes after handlers: an aborted transaction is theirs.
pub(crate) fn broken_or_fault(error: AskError, doing: &'static str) -> CommitError {
    match error {
        AskError::Database(error) if diagnose::is_aborted(&error) => CommitError::BrokenByHandler {
            why: "a statement failed in it, and the error was swallowed".to_owned(),
        },
        error => CommitError::Fault(error.ours(doing)),
    }
}
