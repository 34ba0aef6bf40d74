//! The handler `record`, which only stores the event. It is the default, and also handles topics
//! that no route selects.

use hookbox_driver::Store;
use hookbox_worker::{Event, Handler, HandlerError};
use serde::de::IgnoredAny;

/// The handler that adds nothing to what the worker has stored: the worker writes the row of the
/// event before it runs any handler.
#[derive(Debug, Clone, Copy)]
pub struct Record;

impl<S: Store> Handler<S> for Record {
    const NAME: &'static str = "record";
    type Payload = IgnoredAny;
    const TRUSTED: bool = true;

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn handle(
        &self,
        _event: &Event<IgnoredAny>,
        _tx: &mut S::Connection,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}
