//! Stores the event, and does nothing else: the default, also for topics that no route takes.

use hookbox_driver::Store;
use hookbox_worker::{Event, Handler, HandlerError};
use serde::de::IgnoredAny;

/// Stores the event. The engine has written its row already when a handler runs.
#[derive(Debug, Clone, Copy)]
pub struct Record;

impl<S: Store> Handler<S> for Record {
    const NAME: &'static str = "record";
    type Payload = IgnoredAny;
    const TRUSTED: bool = true;

    async fn handle(
        &self,
        _event: &Event<IgnoredAny>,
        _tx: &mut S::Connection,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}
