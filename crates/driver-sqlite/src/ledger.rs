//! The ledger's seam: reads on the readers, and each change one transaction with its audit row.

mod history;
mod imbalances;
mod turn;

use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    AcceptedRestore, AccountGap, Accounts, AuditRow, Backlog, DeadFilter, DeadGroup, DeadLetter,
    DeadRow, EventDetail, EventFilter, EventRow, Fault, Imbalance, Ledger, Mismatch, OpenReceipt,
    Refusal, RouteBooks, SilentIngest, Unvouched, WitnessPosition,
};
use hookbox_event::{EventId, ReceiptId, Witness};

use crate::diagnose::fault;
use crate::{
    Sqlite, accounts, audit, backlog, claims, dead_letters, receipts, refusals, silent, unvouched,
    witness, written_off,
};

#[async_trait]
impl Ledger for Sqlite {
    async fn events(&self, filter: &EventFilter, limit: u32) -> Result<Vec<EventRow>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        claims::list(&mut reader, filter, limit)
            .await
            .map_err(fault("list events"))
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

    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        dead_letters::groups(&mut reader, filter)
            .await
            .map_err(fault("group dead letters"))
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
        history::of_dead_letter(&mut snapshot, id)
            .await
            .map_err(fault("show a dead letter"))
    }

    async fn dead_replay(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        turn::turn(&self.shared.writer, turn::Turn::Replay, filter, limit, by).await
    }

    async fn dead_discard(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        turn::turn(&self.shared.writer, turn::Turn::Discard, filter, limit, by).await
    }

    async fn dead_restore(&self, filter: &DeadFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        turn::turn(&self.shared.writer, turn::Turn::Restore, filter, limit, by).await
    }

    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault> {
        let doing = "write the audit";
        let mut unit = self.shared.writer.begin().await?;
        audit::add(unit.connection(), by, action, subject)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn audits(&self, limit: u32) -> Result<Vec<AuditRow>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        audit::newest(&mut reader, limit)
            .await
            .map_err(fault("read the audit"))
    }

    async fn books(&self) -> Result<Vec<RouteBooks>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        receipts::books(&mut reader)
            .await
            .map_err(fault("read the books"))
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        backlog::backlog(&mut reader)
            .await
            .map_err(fault("count what waits"))
    }

    async fn accounts(&self, limit: u32, overdue: Duration) -> Result<Accounts, Fault> {
        let mut reader = self.shared.readers.take().await?;
        accounts::read(&mut reader, limit, overdue)
            .await
            .map_err(fault("read the accounts"))
    }

    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault> {
        let doing = "write receipts off";
        let mut unit = self.shared.writer.begin().await?;
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
            .map_err(fault("look for silent ingests"))
    }

    async fn silent(&self, limit: u32, silent: Duration) -> Result<Vec<SilentIngest>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        silent::read(&mut reader, limit, silent)
            .await
            .map_err(fault("look for ingests that never closed"))
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
        let mut unit = self.shared.writer.begin().await?;
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
        imbalances::find(&mut reader, limit)
            .await
            .map_err(fault("look for imbalances"))
    }

    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault> {
        if refusals.is_empty() {
            return Ok(());
        }
        let doing = "keep refusals";
        let mut unit = self.shared.writer.begin().await?;
        refusals::keep(unit.connection(), refusals)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn refusals(&self, limit: u32) -> Result<Vec<Refusal>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        refusals::newest(&mut reader, limit)
            .await
            .map_err(fault("read the refusals"))
    }
}
