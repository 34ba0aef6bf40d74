//! A worker that was made and does not run yet. Its handlers have checked their database.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hookbox_driver::{OpenError, Store};
use hookbox_worker::{Counters, RefusedHandler, SourceSchemas, Worker};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::compose;
use crate::drain::Drain;

/// A worker that was made and does not run yet.
pub(super) struct MadeWorker {
    pub counters: Arc<Counters>,
    pub schemas: SourceSchemas,
    /// Runs the worker until the shutdown.
    pub work: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl MadeWorker {
    /// Waits until the handlers of a worker have checked that their database accepts what they will
    /// run; `None` if a signal came first.
    pub async fn of<S: Store>(
        worker: Worker<S>,
        shutdown: &CancellationToken,
        drain: Drain,
    ) -> Result<Option<Self>, OpenError> {
        let check = async || worker.check_handlers().await.map_err(refused_handler);
        let checked = compose::wait_for("the database", shutdown, check).await?;
        Ok(checked.map(|()| Self {
            counters: worker.counters(),
            schemas: worker.schemas(),
            work: Box::pin(work(worker, shutdown.clone(), drain)),
        }))
    }
}

/// Converts the error of a handler's check into an error about the handler, or about the database
/// if the check itself failed.
fn refused_handler(error: RefusedHandler) -> OpenError {
    match error {
        RefusedHandler::Fault(fault) => OpenError::Unavailable {
            what: "the database",
            source: fault.into(),
        },
        RefusedHandler::Refused { .. } => OpenError::Refused {
            what: "a handler",
            why: error.to_string(),
            remedy: "correct the handler, or run the migrations of its tables".to_owned(),
            source: None,
        },
    }
}

async fn work<S: Store>(worker: Worker<S>, shutdown: CancellationToken, drain: Drain) {
    let running = worker.run(shutdown.clone());
    let began = OnceLock::new();
    let long_enough = async {
        shutdown.cancelled().await;
        began.get_or_init(Instant::now);
        tokio::time::sleep(drain.grace()).await;
    };
    tokio::pin!(running);
    tokio::select! {
        () = running.as_mut() => {}
        () = long_enough => {
            tracing::warn!("cancelling handlers that still run; their events will be redelivered");
            worker.cut().cancel();
            running.await;
        }
    }
    // Closing the connection to an unresponsive broker may have taken long, so the time that is
    // left of the drain is computed only now.
    let since = began.get().map_or(Duration::ZERO, Instant::elapsed);
    let clear = worker.clear_start_markers();
    let cleared = tokio::time::timeout(drain.clear_markers_after(since), clear).await;
    if cleared.is_err() {
        tracing::warn!(
            "store unreachable during shutdown: could not clear start markers; redelivered \
             events that were in flight will run once in isolation"
        );
    }
}
