//! A broker to which hookbox may not be connected yet: with a spool, an ingest starts even while
//! its main broker is unreachable.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, FaultKind, NotReadyKind, OpenError, PublishError,
    PublishErrorKind, Queue, Readiness, Subscription, describe,
};
use hookbox_event::{Account, RouteName, Witness};
use tokio_util::task::TaskTracker;

/// A broker that fails every publish until the connection to it has been opened in the background.
pub struct LateBroker {
    state: Arc<State>,
    opening: TaskTracker,
}

struct State {
    opened: OnceLock<Arc<dyn Broker>>,
    /// Why hookbox is not connected to the broker yet.
    why: Mutex<(NotReadyKind, String)>,
}

impl LateBroker {
    /// Runs `open`, which connects to the broker, in the background. While `open` retries, it sets
    /// the reason of the latest failure in the [`Reason`] that it is given, for operators. If
    /// `open` ends with an error, the broker cannot be used until the process is restarted, and
    /// readiness shows the error. `open` returns `None` when the process is shutting down.
    pub fn open<F>(open: impl FnOnce(Reason) -> F) -> Self
    where
        F: Future<Output = Result<Option<Arc<dyn Broker>>, OpenError>> + Send + 'static,
    {
        let state = Arc::new(State {
            opened: OnceLock::new(),
            why: Mutex::new((
                NotReadyKind::Starting,
                "the broker has not been reached yet".to_owned(),
            )),
        });
        let opening = TaskTracker::new();
        let begun = Arc::clone(&state);
        let open = open(Reason(Arc::clone(&state)));
        opening.spawn(async move {
            match open.await {
                // Storing the opened broker fails only if one is stored already, and no other code
                // stores one.
                Ok(Some(broker)) => drop(begun.opened.set(broker)),
                Ok(None) => {
                    begun.say(NotReadyKind::Closing, "hookbox is shutting down".to_owned());
                }
                Err(error) => begun.say(error.not_ready_kind(), describe(&error)),
            }
        });
        opening.close();
        Self { state, opening }
    }

    fn opened(&self) -> Option<&Arc<dyn Broker>> {
        self.state.opened.get()
    }

    fn fault(doing: &'static str) -> Fault {
        Fault::plain(FaultKind::Unavailable, doing)
    }
}

/// A handle for setting the reason why hookbox is not connected to a broker yet.
#[derive(Clone)]
pub struct Reason(Arc<State>);

impl Reason {
    /// Sets the reason to this error, with which the latest attempt to connect has failed.
    pub fn is(&self, error: &OpenError) {
        self.0.say(error.not_ready_kind(), describe(error));
    }
}

impl State {
    fn say(&self, kind: NotReadyKind, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = (kind, why);
    }
}

#[async_trait]
impl Broker for LateBroker {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        match self.opened() {
            Some(broker) => broker.publish(routes, batch).await,
            None => Err(PublishError::plain(PublishErrorKind::Unavailable)),
        }
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        match self.opened() {
            Some(broker) => broker.publish_report(account).await,
            None => Err(PublishError::plain(PublishErrorKind::Unavailable)),
        }
    }

    async fn publish_witness(&self, witness: &Witness) -> Result<(), PublishError> {
        match self.opened() {
            Some(broker) => broker.publish_witness(witness).await,
            None => Err(PublishError::plain(PublishErrorKind::Unavailable)),
        }
    }

    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        match self.opened() {
            Some(broker) => broker.witnesses().await,
            None => Err(Self::fault(
                "read the witnesses: the broker has not been reached yet",
            )),
        }
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        match self.opened() {
            Some(broker) => broker.subscribe(queue, prefetch).await,
            None => Err(Self::fault(
                "subscribe to a queue: the broker has not been reached yet",
            )),
        }
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        match self.opened() {
            Some(broker) => broker.depths().await,
            None => Err(Self::fault(
                "count the messages in the queues: the broker has not been reached yet",
            )),
        }
    }

    fn readiness(&self) -> Readiness {
        if let Some(broker) = self.opened() {
            return broker.readiness();
        }
        let why = self.state.why.lock();
        let (kind, why) = why.unwrap_or_else(PoisonError::into_inner).clone();
        Readiness::not_ready(kind, why)
    }

    async fn close(&self) {
        // This waits for the background task that connects to the broker. At a shutdown the task
        // ends by itself.
        self.opening.wait().await;
        if let Some(broker) = self.opened() {
            broker.close().await;
        }
    }
}
