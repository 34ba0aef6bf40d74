//! The events of a transaction with their payloads, ready for the handler to run on them, once or
//! several times.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::Store;

use crate::{BatchError, Event, Handler, HandlerError};

/// Events that are ready for their handler.
#[async_trait]
pub trait Prepared<S: Store>: Send + Sync {
    /// Handles the event at this position.
    async fn handle(&self, at: usize, tx: &mut S::Connection) -> Result<(), HandlerError>;

    /// Handles the events at these positions in one call.
    async fn handle_all(
        &self,
        which: Range<usize>,
        tx: &mut S::Connection,
    ) -> Result<(), BatchError>;
}

/// Events with payloads of the handler's own type.
pub(crate) struct TypedEvents<S: Store, H: Handler<S>> {
    pub handler: Arc<H>,
    pub events: Vec<Event<H::Payload>>,
}

#[async_trait]
impl<S: Store, H: Handler<S>> Prepared<S> for TypedEvents<S, H> {
    async fn handle(&self, at: usize, tx: &mut S::Connection) -> Result<(), HandlerError> {
        match self.events.get(at) {
            Some(event) => self.handler.handle(event, tx).await,
            None => Ok(()),
        }
    }

    async fn handle_all(
        &self,
        which: Range<usize>,
        tx: &mut S::Connection,
    ) -> Result<(), BatchError> {
        let events = self.events.get(which).unwrap_or_default();
        self.handler.handle_all(events, tx).await
    }
}
