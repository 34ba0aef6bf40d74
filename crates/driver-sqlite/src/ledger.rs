//! The `Ledger` seam over SQLite. Reads use the reading connections. Each change is one
//! transaction, which also writes the row of the audit log.

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

use crate::diagnose::fault;
use crate::{
    Sqlite, accounts, audit, backlog, books, dead_groups, dead_letters, ends, event_list,
    event_replay, history, names, receipts, refusals, replay, retry_list, route_controls, silent,
    targets, unvouched, witness, written_off,
};

#[async_trait]
impl Ledger for Sqlite {
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        event_list::list(&mut reader, filter, after, limit)
            .await
            .map_err(fault("list events"))
    }

    async fn ends(
        &self,
        after: Option<&EndCursor>,
        route: Option<&RouteName>,
        limit: u32,
    ) -> Result<EndsRead, Fault> {
        let mut snapshot = self.shared.readers.snapshot().await?;
        ends::read(&mut snapshot, after, route, limit)
            .await
            .map_err(fault("read the ends of events"))
    }

    async fn ends_held_back(&self) -> Result<Option<HeldBack>, Fault> {
        // A reader gets every end as soon as it is committed, because one transaction at a time
        // writes to the file.
        Ok(None)
    }

    async fn names(&self) -> Result<Names, Fault> {
        let mut reader = self.shared.readers.take().await?;
        names::lately(&mut reader)
            .await
            .map_err(fault("read the names of sources, topics and routes"))
    }

    async fn has_seen(&self, name: Name<'_>) -> Result<bool, Fault> {
        let mut reader = self.shared.readers.take().await?;
        names::has_seen(&mut reader, name)
            .await
            .map_err(fault("search for the name of a source, topic or route"))
    }

    async fn event(&self, id_prefix_hex: &str) -> Result<Option<EventDetail>, Fault> {
        let mut snapshot = self.shared.readers.snapshot().await?;
        history::by_prefix(&mut snapshot, id_prefix_hex)
            .await
            .map_err(fault("show an event"))
    }

    async fn event_of(&self, receipt: &ReceiptId) -> Result<Option<EventId>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        receipts::event_of(&mut reader, receipt)
            .await
            .map_err(fault("look up a receipt"))
    }

    async fn replayable(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
    ) -> Result<ReplayChoice, Fault> {
        let mut reader = self.shared.readers.take().await?;
        event_replay::plan(&mut reader, filter, after, limit)
            .await
            .map_err(fault("count events to replay"))
    }

    async fn replay(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
        by: &str,
        why: &str,
    ) -> Result<ReplayPage, Fault> {
        event_replay::replay(&self.shared.writer, filter, after, limit, (by, why)).await
    }

    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        dead_groups::groups(&mut reader, filter)
            .await
            .map_err(fault("group dead letters"))
    }

    async fn dead_regroup(&self, limit: u32) -> Result<u64, Fault> {
        let doing = "group older dead letters";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        let grouped = dead_groups::regroup(unit.connection(), limit)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(grouped)
    }

    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, Fault> {
        let mut reader = self.shared.readers.take().await?;
        dead_letters::count(&mut reader, filter)
            .await
            .map_err(fault("count dead letters"))
    }

    async fn dead_list(
        &self,
        filter: &DeadFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadRow>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        dead_letters::list(&mut reader, filter, after, limit)
            .await
            .map_err(fault("list dead letters"))
    }

    async fn dead_show(&self, id: i64) -> Result<Option<DeadLetter>, Fault> {
        let mut snapshot = self.shared.readers.snapshot().await?;
        history::dead_letter(&mut snapshot, id)
            .await
            .map_err(fault("show a dead letter"))
    }

    async fn dead_claims(&self, ids: &[i64]) -> Result<Vec<DeadClaim>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        dead_letters::claims(&mut reader, ids)
            .await
            .map_err(fault("read the states of dead letters"))
    }

    async fn dead_replay(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        replay::change(&self.shared.writer, DeadChange::Replay, filter, limit, by).await
    }

    async fn dead_discard(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        replay::change(&self.shared.writer, DeadChange::Discard, filter, limit, by).await
    }

    async fn dead_restore(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        replay::change(&self.shared.writer, DeadChange::Restore, filter, limit, by).await
    }

    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault> {
        let doing = "write an audit row";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        audit::insert(unit.connection(), by, action, subject)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn audits(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        audit::list(&mut reader, filter, before, limit)
            .await
            .map_err(fault("read the audit rows"))
    }

    async fn retries(
        &self,
        filter: &RetryFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<WaitingRetry>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        retry_list::list(&mut reader, filter, after, limit)
            .await
            .map_err(fault("list retries"))
    }

    async fn retries_early(&self, filter: &RetryFilter) -> Result<u64, Fault> {
        let mut reader = self.shared.readers.take().await?;
        retry_list::early(&mut reader, filter)
            .await
            .map_err(fault("count retries"))
    }

    async fn hurry(&self, filter: &RetryFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        let doing = "make retries due";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        let hurried = retry_list::hurry(unit.connection(), filter, limit, by)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(hurried)
    }

    async fn controls(&self) -> Result<RouteControls, Fault> {
        let mut reader = self.shared.readers.take().await?;
        route_controls::all(&mut reader)
            .await
            .map_err(fault("read the pauses and limits of the routes"))
    }

    async fn change_route(
        &self,
        scope: &RouteScope,
        change: &RouteChange,
        by: &str,
    ) -> Result<bool, Fault> {
        let doing = "change the pause or the limits of a route";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        let changed = route_controls::change(unit.connection(), scope, change, by)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(changed)
    }

    async fn targets(&self) -> Result<Vec<TargetRow>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        targets::list(&mut reader)
            .await
            .map_err(fault("list the targets of external calls"))
    }

    async fn books(&self) -> Result<Vec<RouteBooks>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        books::books(&mut reader)
            .await
            .map_err(fault("read the accounting"))
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        backlog::backlog(&mut reader)
            .await
            .map_err(fault("count waiting events"))
    }

    async fn accounts(&self, limit: u32, overdue: Duration) -> Result<Accounts, Fault> {
        let mut reader = self.shared.readers.take().await?;
        accounts::read(&mut reader, limit, overdue)
            .await
            .map_err(fault("read the accept reports"))
    }

    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault> {
        let doing = "write off receipts";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        let count = written_off::write_off(unit.connection(), receipts, gaps, by, why)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(count)
    }

    async fn unvouched(&self, limit: u32, silent: Duration) -> Result<Vec<Unvouched>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        unvouched::read(&mut reader, limit, silent)
            .await
            .map_err(fault("find ingests with unreported receipts"))
    }

    async fn silent(&self, limit: u32, silent: Duration) -> Result<Vec<SilentIngest>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        silent::read(&mut reader, limit, silent)
            .await
            .map_err(fault("find ingests without a closing report"))
    }

    async fn witness_position(&self) -> Result<WitnessPosition, Fault> {
        let mut snapshot = self.shared.readers.snapshot().await?;
        witness::position(&mut snapshot)
            .await
            .map_err(fault("read the newest witness"))
    }

    async fn accept_restore(
        &self,
        mismatch: &Mismatch,
        by: &str,
        why: &str,
    ) -> Result<Witness, Fault> {
        let doing = "accept a restored store";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        let witness = witness::accept(unit.connection(), mismatch, by, why)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(witness)
    }

    async fn accepted_restores(&self, limit: u32) -> Result<Vec<AcceptedRestore>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        witness::accepted(&mut reader, limit)
            .await
            .map_err(fault("read the accepted restores"))
    }

    async fn imbalances(&self, limit: u32) -> Result<Vec<Imbalance>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        books::imbalances(&mut reader, limit)
            .await
            .map_err(fault("check the accounting"))
    }

    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault> {
        if refusals.is_empty() {
            return Ok(());
        }
        let doing = "store refusals";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        refusals::insert(unit.connection(), refusals)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn refusals(
        &self,
        filter: &RefusalFilter,
        after: Option<&RefusalCursor>,
        limit: u32,
    ) -> Result<Vec<Refusal>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        refusals::list(&mut reader, filter, after, limit)
            .await
            .map_err(fault("read the refusals"))
    }

    async fn refusal_groups(&self, filter: &RefusalFilter) -> Result<Vec<RefusalGroup>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        refusals::groups(&mut reader, filter)
            .await
            .map_err(fault("group the refusals"))
    }
}
