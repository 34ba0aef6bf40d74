//! A broker that may not be open yet: with a spool, an ingest starts without its main broker.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, FaultKind, NotReadyKind, OpenError, PublishError,
    PublishErrorKind, Queue, Readiness, Subscription, describe,
};
use hookbox_event::{Account, RouteName, Witness};
use tokio_util::task::TaskTracker;

/// A broker that takes no publishes until it is open.
pub struct LateBroker {
    state: Arc<State>,
    opening: TaskTracker,
}

struct State {
    opened: OnceLock<Arc<dyn Broker>>,
    /// Why the broker is not open.
    why: Mutex<(NotReadyKind, String)>,
}

impl LateBroker {
    /// Starts to open the broker in the background. Until it is open, `open` reports to operators
    /// why it is not. If `open` ends with an error, the broker cannot be used, and the error is
    /// shown for as long as the process lives. `open` returns `None` when the process is shutting
    /// down.
    pub fn open<F>(open: impl FnOnce(Reason) -> F) -> Self
    where
        F: Future<Output = Result<Option<Arc<dyn Broker>>, OpenError>> + Send + 'static,
    {
        let state = Arc::new(State {
            opened: OnceLock::new(),
            why: Mutex::new((NotReadyKind::Starting, "it was not reached yet".to_owned())),
        });
        let opening = TaskTracker::new();
        let begun = Arc::clone(&state);
        let open = open(Reason(Arc::clone(&state)));
        opening.spawn(async move {
            match open.await {
                // No other code sets this value, so setting it cannot fail.
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

/// A handle that sets the reason why a broker is not open yet.
#[derive(Clone)]
pub struct Reason(Arc<State>);

impl Reason {
    /// Sets the reason.
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
                "read the witnesses: the broker was not reached yet",
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
            None => Err(Self::fault("subscribe: the broker was not reached yet")),
        }
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        match self.opened() {
            Some(broker) => broker.depths().await,
            None => Err(Self::fault(
                "count the messages: the broker was not reached yet",
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
        // The task that opens the broker ends by itself at a shutdown.
        self.opening.wait().await;
        if let Some(broker) = self.opened() {
            broker.close().await;
        }
    }
}
