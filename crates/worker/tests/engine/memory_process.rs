//! A process that can die. Once it is dead, none of its operations completes, its transactions are
//! rolled back, and its messages are redelivered.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::call_script::CallScript;
use crate::memory_broker::Queues;
use crate::memory_store::Tables;
use crate::script::Script;

pub struct MemoryProcess {
    pub number: u64,
    pub dead: CancellationToken,
    pub tables: Arc<Tables>,
    pub queues: Arc<Queues>,
    pub script: Arc<Script>,
    pub calls: Arc<CallScript>,
}

impl MemoryProcess {
    pub fn die(&self) {
        self.dead.cancel();
        self.tables.roll_back_all_of(self.number);
        self.queues.put_back_all_of(self.number);
        self.script.end_all_of(self.number);
        self.calls.end_all_of(self.number);
    }

    pub fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    /// Yields once, as each operation of a driver does. If the process is dead, this never
    /// returns.
    pub async fn step(&self) {
        tokio::task::yield_now().await;
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}
