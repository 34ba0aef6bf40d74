//! The state that all parts of one worker share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hookbox_driver::{Broker, Clock, Rng, Store};
use hookbox_event::InstanceId;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::controls::Controls;
use crate::counters::Counters;
use crate::isolation::Isolation;
use crate::own_markers::OwnMarkers;
use crate::target_permits::TargetPermits;

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
    /// The number of faults of the store that any part of this worker has met.
    pub store_faults: AtomicU64,
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
            controls: Controls::new(),
            isolation: Isolation::default(),
            own_markers: OwnMarkers::default(),
            target_permits: TargetPermits::default(),
            witness_known: AtomicU64::new(0),
            cut: CancellationToken::new(),
        }
    }
}
