//! The `Ledger` seam over PostgreSQL. Each read works on one snapshot and blocks no writer. Each
//! change and its audit row are one transaction.

use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    AcceptedRestore, AccountGap, Accounts, AuditFilter, AuditRow, Backlog, DeadChange, DeadClaim,
    DeadFilter, DeadGroup, DeadLetter, DeadRow, EndCursor, EndsRead, EventCursor, EventDetail,
    EventFilter, EventRow, Fault, HeldBack, Imbalance, Ledger, Mismatch, Name, Names, OpenReceipt,
    Refusal, RefusalCursor, RefusalFilter, RefusalGroup, ReplayChoice, ReplayFilter, ReplayPage,
    ReplayPosition, RetryFilter, RouteBooks, RouteChange, RouteControls, RouteScope, SilentIngest,
    TargetRow, Unvouched, WaitingRetry, WitnessPosition,
};
use hookbox_event::{EventId, ReceiptId, RouteName, Witness};

use crate::{
    Postgres, accounts, audit, backlog, books, dead_groups, dead_letters, ends, event_list,
    event_replay, history, names, receipts, refusals, replay, retry_list, route_controls, silent,
    targets, unvouched, witness, written_off,
};

/// Runs a statement that reads, in a transaction of its own.
macro_rules! read {
    ($self:ident, $doing:literal, $statement:expr) => {{
        let mut tx = $self.read().await?;
        let answer = tx
            .run($statement)
            .await
            .map_err(|error| error.ours($doing))?;
        tx.rollback().await;
        Ok(answer)
    }};
}

/// Runs a statement that changes something, in a transaction of its own, and commits it.
macro_rules! write {
    ($self:ident, $doing:literal, $statement:expr) => {{
        let mut tx = $self.write_slowly().await?;
        let answer = tx
            .run($statement)
            .await
            .map_err(|error| error.ours($doing))?;
        tx.commit_ours().await?;
        Ok(answer)
    }};
}

#[async_trait]
impl Ledger for Postgres {
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>, Fault> {
        read!(self, "list events", |c| event_list::list(
            c, filter, after, limit
        ))
    }

    async fn ends(
        &self,
        after: Option<&EndCursor>,
        route: Option<&RouteName>,
        limit: u32,
    ) -> Result<EndsRead, Fault> {
        read!(self, "read the ends of events", |c| ends::read(
            c, after, route, limit
        ))
    }

    async fn ends_held_back(&self) -> Result<Option<HeldBack>, Fault> {
        read!(
            self,
            "find the transaction that holds ends back",
            ends::held_back
        )
    }

    async fn names(&self) -> Result<Names, Fault> {
        read!(
            self,
            "read the names of sources, topics and routes",
            names::lately
        )
    }

    async fn has_seen(&self, name: Name<'_>) -> Result<bool, Fault> {
        read!(
            self,
            "search for the name of a source, topic or route",
            |c| names::has_seen(c, name)
        )
    }

    async fn event(&self, id_prefix_hex: &str) -> Result<Option<EventDetail>, Fault> {
        read!(self, "show an event", |c| history::by_prefix(
            c,
            id_prefix_hex
        ))
    }

    async fn event_of(&self, receipt: &ReceiptId) -> Result<Option<EventId>, Fault> {
        read!(self, "look up a receipt", |c| receipts::event_of(
            c, receipt
        ))
    }

    async fn replayable(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
    ) -> Result<ReplayChoice, Fault> {
        read!(self, "count events to replay", |c| event_replay::plan(
            c, filter, after, limit
        ))
    }

    async fn replay(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
        by: &str,
        why: &str,
    ) -> Result<ReplayPage, Fault> {
        write!(self, "replay events", |c| event_replay::replay(
            c,
            filter,
            after,
            limit,
            (by, why)
        ))
    }

    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault> {
        read!(self, "group dead letters", |c| dead_groups::groups(
            c, filter
        ))
    }

    async fn dead_regroup(&self, limit: u32) -> Result<u64, Fault> {
        write!(self, "group older dead letters", |c| dead_groups::regroup(
            c, limit
        ))
    }

    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, Fault> {
        read!(self, "count dead letters", |c| dead_letters::count(
            c, filter
        ))
    }

    async fn dead_list(
        &self,
        filter: &DeadFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadRow>, Fault> {
        read!(self, "list dead letters", |c| dead_letters::list(
            c, filter, after, limit
        ))
    }

    async fn dead_show(&self, id: i64) -> Result<Option<DeadLetter>, Fault> {
        read!(self, "show a dead letter", |c| history::dead_letter(c, id))
    }

    async fn dead_claims(&self, ids: &[i64]) -> Result<Vec<DeadClaim>, Fault> {
        read!(self, "read the states of dead letters", |c| {
            dead_letters::claims(c, ids)
        })
    }

    async fn dead_replay(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        write!(self, "replay dead letters", |c| replay::change(
            c,
            DeadChange::Replay,
            filter,
            limit,
            by
        ))
    }

    async fn dead_discard(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        write!(self, "discard dead letters", |c| replay::change(
            c,
            DeadChange::Discard,
            filter,
            limit,
            by
        ))
    }

    async fn dead_restore(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        write!(self, "restore dead letters", |c| replay::change(
            c,
            DeadChange::Restore,
            filter,
            limit,
            by
        ))
    }

    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault> {
        write!(self, "write an audit row", |c| audit::insert(
            c, by, action, subject
        ))
    }

    async fn audits(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Fault> {
        read!(self, "read the audit rows", |c| audit::list(
            c, filter, before, limit
        ))
    }

    async fn retries(
        &self,
        filter: &RetryFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<WaitingRetry>, Fault> {
        read!(self, "list retries", |c| retry_list::list(
            c, filter, after, limit
        ))
    }

    async fn retries_early(&self, filter: &RetryFilter) -> Result<u64, Fault> {
        read!(self, "count retries", |c| retry_list::early(c, filter))
    }

    async fn hurry(&self, filter: &RetryFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        write!(self, "make retries due", |c| retry_list::hurry(
            c, filter, limit, by
        ))
    }

    async fn controls(&self) -> Result<RouteControls, Fault> {
        read!(
            self,
            "read the pauses and limits of the routes",
            route_controls::all
        )
    }

    async fn change_route(
        &self,
        scope: &RouteScope,
        change: &RouteChange,
        by: &str,
    ) -> Result<bool, Fault> {
        write!(self, "change the pause or the limits of a route", |c| {
            route_controls::change(c, scope, change, by)
        })
    }

    async fn targets(&self) -> Result<Vec<TargetRow>, Fault> {
        read!(self, "list the targets of external calls", targets::list)
    }

    async fn books(&self) -> Result<Vec<RouteBooks>, Fault> {
        read!(self, "read the accounting", books::books)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, Fault> {
        read!(self, "count waiting events", backlog::backlog)
    }

    async fn accounts(&self, limit: u32, overdue: Duration) -> Result<Accounts, Fault> {
        read!(self, "read the accept reports", |c| accounts::read(
            c, limit, overdue
        ))
    }

    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault> {
        write!(self, "write off receipts", |c| written_off::write_off(
            c, receipts, gaps, by, why
        ))
    }

    async fn unvouched(&self, limit: u32, silent: Duration) -> Result<Vec<Unvouched>, Fault> {
        read!(self, "find ingests with unreported receipts", |c| {
            unvouched::read(c, limit, silent)
        })
    }

    async fn silent(&self, limit: u32, silent: Duration) -> Result<Vec<SilentIngest>, Fault> {
        read!(self, "find ingests without a closing report", |c| {
            silent::read(c, limit, silent)
        })
    }

    async fn witness_position(&self) -> Result<WitnessPosition, Fault> {
        read!(self, "read the newest witness", witness::position)
    }

    async fn accept_restore(
        &self,
        mismatch: &Mismatch,
        by: &str,
        why: &str,
    ) -> Result<Witness, Fault> {
        write!(self, "accept a restored store", |c| witness::accept(
            c, mismatch, by, why
        ))
    }

    async fn accepted_restores(&self, limit: u32) -> Result<Vec<AcceptedRestore>, Fault> {
        read!(self, "read the accepted restores", |c| witness::accepted(
            c, limit
        ))
    }

    async fn imbalances(&self, limit: u32) -> Result<Vec<Imbalance>, Fault> {
        read!(self, "check the accounting", |c| books::imbalances(
            c, limit
        ))
    }

    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault> {
        if refusals.is_empty() {
            return Ok(());
        }
        write!(self, "store refusals", |c| async move {
            refusals::insert(&mut *c, refusals).await?;
            refusals::prune(c).await
        })
    }

    async fn refusals(
        &self,
        filter: &RefusalFilter,
        after: Option<&RefusalCursor>,
        limit: u32,
    ) -> Result<Vec<Refusal>, Fault> {
        read!(self, "read the refusals", |c| refusals::list(
            c, filter, after, limit
        ))
    }

    async fn refusal_groups(&self, filter: &RefusalFilter) -> Result<Vec<RefusalGroup>, Fault> {
        read!(self, "group the refusals", |c| refusals::groups(c, filter))
    }
}
