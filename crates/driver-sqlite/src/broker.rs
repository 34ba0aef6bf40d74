//! The `Broker` seam over SQLite: a queue is a set of rows, and a publish is confirmed when its
//! transaction has committed.

mod delivery;
pub(crate) mod health;
pub(crate) mod job;
mod keeper;
mod messages;
pub(crate) mod notifier;
pub(crate) mod publisher;
mod witnesses;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, FaultKind, NotReadyKind, PublishError, PublishErrorKind, Queue,
    Readiness, Subscription,
};
use hookbox_event::{Account, RouteName, Witness};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Sqlite;
use crate::broker::job::Job;
use crate::diagnose::fault;
use crate::file::shared::Shared;

#[async_trait]
impl Broker for Sqlite {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        let shared = &self.shared;
        let known = |route: &RouteName| shared.options.routes.contains(route);
        if routes.is_empty() || !routes.iter().all(known) {
            return Err(PublishError::plain(PublishErrorKind::Unroutable));
        }
        let queues = routes
            .iter()
            .map(|route| shared.queue_name(&Queue::Route(route.clone())))
            .collect();
        put(shared, queues, batch.clone()).await
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        let queue = self.shared.queue_name(&Queue::Accounts);
        put(&self.shared, vec![queue], Batch::of_account(account)).await
    }

    async fn publish_witness(&self, witness: &Witness) -> Result<(), PublishError> {
        let doing = "store a witness";
        let kept = async {
            let mut unit = self.shared.writer.begin_to_operate().await?;
            witnesses::publish(unit.connection(), witness)
                .await
                .map_err(fault(doing))?;
            unit.commit().await.map_err(fault(doing))
        };
        let deadline = self.shared.options.publish_deadline;
        match timeout(deadline, kept).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(PublishError::new(PublishErrorKind::Unavailable, fault)),
            Err(late) => Err(PublishError::new(PublishErrorKind::TimedOut, late)),
        }
    }

    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        witnesses::all(&mut reader)
            .await
            .map_err(fault("read the witnesses"))
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        let shared = &self.shared;
        if shared.closing.is_cancelled() {
            return Err(Fault::plain(
                FaultKind::Unavailable,
                "subscribe after the SQLite file was closed",
            ));
        }
        // The token, which marks the messages that a subscription has taken, is read from the file.
        // So an unreadable file is reported here, before the subscription is started.
        let mut reader = shared.readers.take_for_queues().await?;
        let token = messages::new_token(&mut reader)
            .await
            .map_err(fault("subscribe to a queue"))?;
        keeper::subscribe(Arc::clone(shared), queue, token, prefetch)
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        let shared = &self.shared;
        let mut reader = shared.readers.take_for_queues().await?;
        let leases = messages::Leases::lasting(shared.options.lease);
        let found = messages::depths(&mut reader, leases)
            .await
            .map_err(fault("count the messages"))?;
        let routes = shared.options.routes.iter().cloned().map(Queue::Route);
        let depths = routes.chain([Queue::Dead, Queue::Accounts]).map(|queue| {
            let name = shared.queue_name(&queue);
            let waiting = found.get(&name).copied().unwrap_or_default();
            Depth {
                queue,
                name,
                ready: Some(waiting.ready),
                unsettled: Some(waiting.unsettled),
                // The file records a subscription only in the leases of the messages that it has
                // taken. A subscription without messages leaves no trace, so consumers cannot be
                // counted.
                consumers: None,
                events: Some(waiting.events),
            }
        });
        Ok(depths.collect())
    }

    fn readiness(&self) -> Readiness {
        // The file and the disk are checked here, and not only when an event is published, because
        // senders read the readiness before they send the first event.
        let shared = &self.shared;
        let storage = |why: String| Readiness::not_ready(NotReadyKind::Storage, why);
        if let Err(displaced) = shared.file.check() {
            return storage(displaced.to_string());
        }
        match shared.room.refusal() {
            Some(no_room) => storage(no_room.to_string()),
            None => shared.health.readiness(),
        }
    }

    async fn close(&self) {
        self.end().await;
    }
}

impl Sqlite {
    /// Returns the queues that hold messages and belong to no route that the file was opened with,
    /// each with its number of events. No worker consumes these queues.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn unknown_queues(&self) -> Result<BTreeMap<String, u64>, Fault> {
        let shared = &self.shared;
        let mut reader = shared.readers.take_for_queues().await?;
        let leases = messages::Leases::lasting(shared.options.lease);
        let found = messages::depths(&mut reader, leases)
            .await
            .map_err(fault("count the messages"))?;
        let unknown = found
            .into_iter()
            .filter(|(name, _)| shared.notifiers.listen(name).is_none());
        Ok(unknown
            .map(|(name, waiting)| (name, waiting.events))
            .collect())
    }
}

/// Passes a batch to the publisher and waits for its commit.
async fn put(shared: &Shared, queues: Vec<String>, batch: Batch) -> Result<(), PublishError> {
    let (reply, answer) = oneshot::channel();
    let job = Job {
        queues,
        batch,
        reply,
    };
    let gone = || PublishError::plain(PublishErrorKind::Unavailable);
    let published = async {
        shared.jobs.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    };
    timeout(shared.options.publish_deadline, published)
        .await
        .unwrap_or_else(|late| Err(PublishError::new(PublishErrorKind::TimedOut, late)))
}
