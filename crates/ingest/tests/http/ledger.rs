//! A ledger in memory that implements only storing refusals, because an ingest uses a ledger for
//! nothing else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    AcceptedRestore, AccountGap, Accounts, AuditFilter, AuditRow, Backlog, DeadClaim, DeadFilter,
    DeadGroup, DeadLetter, DeadRow, EndCursor, EndsRead, EventCursor, EventDetail, EventFilter,
    EventRow, Fault, FaultKind, HeldBack, Imbalance, Ledger, Mismatch, Name, Names, OpenReceipt,
    Refusal, RefusalCursor, RefusalFilter, RefusalGroup, ReplayChoice, ReplayFilter, ReplayPage,
    ReplayPosition, RetryFilter, RouteBooks, RouteChange, RouteControls, RouteScope, SilentIngest,
    TargetRow, Unvouched, WaitingRetry, WitnessPosition,
};
use hookbox_event::{EventId, ReceiptId, RouteName, Witness};

/// A ledger that keeps the refusals in memory.
#[derive(Default)]
pub struct FakeLedger {
    kept: Mutex<Vec<Refusal>>,
    unavailable: AtomicBool,
}

impl FakeLedger {
    pub fn kept(&self) -> Vec<Refusal> {
        self.kept.lock().unwrap().clone()
    }

    /// Makes every later call fail.
    pub fn fail_from_now(&self) {
        self.unavailable.store(true, Ordering::Relaxed);
    }
}

fn never<T>() -> Result<T, Fault> {
    Err(Fault::plain(
        FaultKind::Internal,
        "read the ledger: an ingest only stores refusals",
    ))
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn events(
        &self,
        _: &EventFilter,
        _: Option<&EventCursor>,
        _: u32,
    ) -> Result<Vec<EventRow>, Fault> {
        never()
    }

    async fn ends(
        &self,
        _: Option<&EndCursor>,
        _: Option<&RouteName>,
        _: u32,
    ) -> Result<EndsRead, Fault> {
        never()
    }

    async fn ends_held_back(&self) -> Result<Option<HeldBack>, Fault> {
        never()
    }

    async fn names(&self) -> Result<Names, Fault> {
        never()
    }

    async fn has_seen(&self, _: Name<'_>) -> Result<bool, Fault> {
        never()
    }

    async fn retries(
        &self,
        _: &RetryFilter,
        _: Option<&EventCursor>,
        _: u32,
    ) -> Result<Vec<WaitingRetry>, Fault> {
        never()
    }

    async fn retries_early(&self, _: &RetryFilter) -> Result<u64, Fault> {
        never()
    }

    async fn hurry(&self, _: &RetryFilter, _: u32, _: &str) -> Result<u64, Fault> {
        never()
    }

    async fn targets(&self) -> Result<Vec<TargetRow>, Fault> {
        never()
    }

    async fn refusal_groups(&self, _: &RefusalFilter) -> Result<Vec<RefusalGroup>, Fault> {
        never()
    }

    async fn event(&self, _: &str) -> Result<Option<EventDetail>, Fault> {
        never()
    }

    async fn silent(&self, _: u32, _: Duration) -> Result<Vec<SilentIngest>, Fault> {
        never()
    }

    async fn witness_position(&self) -> Result<WitnessPosition, Fault> {
        never()
    }

    async fn accept_restore(&self, _: &Mismatch, _: &str, _: &str) -> Result<Witness, Fault> {
        never()
    }

    async fn accepted_restores(&self, _: u32) -> Result<Vec<AcceptedRestore>, Fault> {
        never()
    }

    async fn event_of(&self, _: &ReceiptId) -> Result<Option<EventId>, Fault> {
        never()
    }

    async fn replayable(
        &self,
        _: &ReplayFilter,
        _: Option<ReplayPosition>,
        _: u32,
    ) -> Result<ReplayChoice, Fault> {
        never()
    }

    async fn replay(
        &self,
        _: &ReplayFilter,
        _: Option<ReplayPosition>,
        _: u32,
        _: &str,
        _: &str,
    ) -> Result<ReplayPage, Fault> {
        never()
    }

    async fn dead_groups(&self, _: &DeadFilter) -> Result<Vec<DeadGroup>, Fault> {
        never()
    }

    async fn dead_regroup(&self, _: u32) -> Result<u64, Fault> {
        never()
    }

    async fn dead_count(&self, _: &DeadFilter) -> Result<u64, Fault> {
        never()
    }

    async fn dead_list(&self, _: &DeadFilter, _: i64, _: u32) -> Result<Vec<DeadRow>, Fault> {
        never()
    }

    async fn dead_show(&self, _: i64) -> Result<Option<DeadLetter>, Fault> {
        never()
    }

    async fn dead_claims(&self, _: &[i64]) -> Result<Vec<DeadClaim>, Fault> {
        never()
    }

    async fn dead_replay(&self, _: &DeadFilter, _: u32, _: &str) -> Result<u64, Fault> {
        never()
    }

    async fn dead_discard(&self, _: &DeadFilter, _: u32, _: &str) -> Result<u64, Fault> {
        never()
    }

    async fn dead_restore(&self, _: &DeadFilter, _: u32, _: &str) -> Result<u64, Fault> {
        never()
    }

    async fn audit(&self, _: &str, _: &str, _: &str) -> Result<(), Fault> {
        never()
    }

    async fn audits(
        &self,
        _: &AuditFilter,
        _: Option<i64>,
        _: u32,
    ) -> Result<Vec<AuditRow>, Fault> {
        never()
    }

    async fn controls(&self) -> Result<RouteControls, Fault> {
        never()
    }

    async fn change_route(&self, _: &RouteScope, _: &RouteChange, _: &str) -> Result<bool, Fault> {
        never()
    }

    async fn books(&self) -> Result<Vec<RouteBooks>, Fault> {
        never()
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, Fault> {
        never()
    }

    async fn accounts(&self, _: u32, _: Duration) -> Result<Accounts, Fault> {
        never()
    }

    async fn write_off(
        &self,
        _: &[OpenReceipt],
        _: &[AccountGap],
        _: &str,
        _: &str,
    ) -> Result<u64, Fault> {
        never()
    }

    async fn unvouched(&self, _: u32, _: Duration) -> Result<Vec<Unvouched>, Fault> {
        never()
    }

    async fn imbalances(&self, _: u32) -> Result<Vec<Imbalance>, Fault> {
        never()
    }

    async fn keep_refusals(&self, refusals: &[Refusal]) -> Result<(), Fault> {
        if self.unavailable.load(Ordering::Relaxed) {
            return Err(Fault::plain(FaultKind::Unavailable, "store refusals"));
        }
        self.kept.lock().unwrap().extend_from_slice(refusals);
        Ok(())
    }

    async fn refusals(
        &self,
        _: &RefusalFilter,
        _: Option<&RefusalCursor>,
        _: u32,
    ) -> Result<Vec<Refusal>, Fault> {
        Ok(self.kept())
    }
}
