//! The state that all parts of one worker share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::try_join;
use hookbox_driver::{Broker, Clock, Fault, FaultKind, Rng, Store};
use hookbox_event::InstanceId;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::controls::Controls;
use crate::counters::{Counters, add};
use crate::isolation::Isolation;
use crate::own_markers::OwnMarkers;
use crate::pause::Stopped;
use crate::pulse::Pulse;
use crate::target_permits::TargetPermits;

/// How long an available store may take to answer a check. It normally answers within
/// milliseconds, so a store that takes longer than this counts as unavailable.
const PING_MAX: Duration = Duration::from_millis(500);

/// The shared state of one worker.
pub(crate) struct Inner<S: Store> {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<S>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub config: Config<S>,
    pub counters: Arc<Counters>,
    /// The id of this process. It differs from that of every other process that ever set a start
    /// marker, which is a row that counts the start of a handler.
    pub id: InstanceId,
    /// How often any part of this worker has found the store unavailable. One event, or this
    /// process itself, cannot raise it while the store is available: time limits that pass while it
    /// rises cost no attempt, on any route.
    pub store_faults: AtomicU64,
    /// Notices that this process was stopped for a while.
    pub pulse: Pulse,
    /// What operators have set for routes.
    pub controls: Controls,
    /// Decides which handlers may run at the same time.
    pub isolation: Isolation,
    /// The start markers that this process has set.
    pub own_markers: OwnMarkers,
    /// The permits for external calls.
    pub target_permits: TargetPermits,
    /// The highest sequence number of a witness message that this process has read or published.
    /// (A witness message shows whether store or broker was restored.) If a later reading returns
    /// only lower numbers, the reading is incomplete.
    pub witness_known: AtomicU64,
    /// Cancelled when a drain has reached its deadline.
    pub cut: CancellationToken,
}

impl<S: Store> Inner<S> {
    pub fn new(
        broker: Arc<dyn Broker>,
        store: Arc<S>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        config: Config<S>,
    ) -> Self {
        let id = InstanceId::new(clock.now(), rng.ten());
        let counters = Arc::new(Counters::new(config.routes.iter().map(|route| &route.name)));
        Self {
            broker,
            store,
            clock,
            rng,
            config,
            counters,
            id,
            store_faults: AtomicU64::new(0),
            pulse: Pulse::new(Instant::now()),
            controls: Controls::new(),
            isolation: Isolation::default(),
            own_markers: OwnMarkers::default(),
            target_permits: TargetPermits::default(),
            witness_known: AtomicU64::new(0),
            cut: CancellationToken::new(),
        }
    }

    /// Waits after a fault of the store. Meanwhile counts the fault if it shows that the store is
    /// unavailable. `wait` is the wait; if it is stopped, this function returns at once.
    pub async fn wait_and_count(
        &self,
        fault: &Fault,
        wait: impl Future<Output = Result<(), Stopped>>,
    ) -> Result<(), Stopped> {
        let count = async {
            if self.is_outage(fault).await {
                add(&self.store_faults, 1);
            }
            Ok::<_, Stopped>(())
        };
        try_join(count, wait).await?;
        Ok(())
    }

    /// Returns whether a fault shows that the store is unavailable. If the cause may lie in this
    /// process, the store is sent a query to find out.
    async fn is_outage(&self, fault: &Fault) -> bool {
        match fault.kind() {
            FaultKind::Unavailable => !fault.may_be_local() || !self.is_store_available().await,
            // These faults are answers of the store, so the store is available.
            FaultKind::Contention | FaultKind::MissingRight | FaultKind::Internal => false,
        }
    }

    /// Returns whether the store answers a query within [`PING_MAX`].
    pub async fn is_store_available(&self) -> bool {
        timeout(PING_MAX, self.store.ping())
            .await
            .is_ok_and(|answer| answer.is_ok())
    }
}
