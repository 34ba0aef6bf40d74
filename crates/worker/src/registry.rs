//! Handlers of different payloads behind one face, so that a route can hold any of them.

use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::Store;

use crate::{Event, Handler, HandlerError};

/// A handler, whatever its payload. Made by [`register`]; nobody implements it by hand.
#[async_trait]
pub trait DynHandler<S: Store>: Send + Sync + 'static {
    /// [`Handler::NAME`].
    fn name(&self) -> &'static str;

    /// [`Handler::TRUSTED`].
    fn is_trusted(&self) -> bool;

    /// Reads the body into the payload and handles the event.
    async fn run(&self, event: Event<()>, tx: &mut S::Connection) -> Result<(), HandlerError>;
}

/// A handler that a route can hold.
pub type Registered<S> = Arc<dyn DynHandler<S>>;

/// Makes a handler ready for a route.
pub fn register<S: Store, H: Handler<S>>(handler: H) -> Registered<S> {
    Arc::new(Typed(handler))
}

struct Typed<H>(H);

#[async_trait]
impl<S: Store, H: Handler<S>> DynHandler<S> for Typed<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn is_trusted(&self) -> bool {
        H::TRUSTED
    }

    async fn run(&self, event: Event<()>, tx: &mut S::Connection) -> Result<(), HandlerError> {
        let payload = serde_json::from_slice::<H::Payload>(&event.body).map_err(|error| {
            HandlerError::permanent(DoesNotFit {
                line: error.line(),
                column: error.column(),
                category: match error.classify() {
                    serde_json::error::Category::Syntax => "it is not JSON",
                    serde_json::error::Category::Eof => "it ends too early",
                    serde_json::error::Category::Data => "a value is missing or of another type",
                    serde_json::error::Category::Io => "it could not be read",
                },
            })
        })?;
        self.0.handle(&event.with_payload(payload), tx).await
    }
}

/// A body that does not fit the handler's payload. It names the place, never the value.
#[derive(Debug, thiserror::Error)]
#[error("the body does not fit the handler: {category} (line {line}, column {column})")]
struct DoesNotFit {
    line: usize,
    column: usize,
    category: &'static str,
}
