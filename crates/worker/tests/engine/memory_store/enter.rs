//! Begins an operation of the store: counts it, and makes it slow or fail as the test says.

use std::collections::VecDeque;
use std::sync::MutexGuard;

use hookbox_driver::{Fault, FaultKind};

use super::{MemoryStore, MemoryTx, State};

impl MemoryStore {
    pub(super) async fn enter(
        &self,
        operation: &'static str,
    ) -> Result<MutexGuard<'_, State>, Fault> {
        self.0.step().await;
        let slow = |state: &mut State| state.slow.get_mut(operation)?.pop_front();
        let slow = slow(&mut self.0.tables.state());
        if let Some(time) = slow {
            tokio::time::sleep(time).await;
        }
        let mut state = self.0.tables.state();
        *state.calls.entry(operation).or_default() += 1;
        let scripted = state.faults.get_mut(operation);
        if let Some(kind) = scripted.and_then(VecDeque::pop_front) {
            return Err(Fault::plain(kind, operation));
        }
        if state.in_use.contains(operation) {
            return Err(Fault::plain(FaultKind::Unavailable, operation).local());
        }
        if state.is_unavailable {
            return Err(Fault::plain(FaultKind::Unavailable, operation));
        }
        Ok(state)
    }

    pub(super) async fn open(&self, operation: &'static str) -> Result<MemoryTx, Fault> {
        let mut state = self.enter(operation).await?;
        state.transactions += 1;
        let number = state.transactions;
        drop(state);
        self.0.tables.journal.note(operation);
        Ok(MemoryTx::new(&self.0, number))
    }
}
