//! The error type with which a handler reports that it could not handle a batch.

use std::error::Error;
use std::fmt;

use hookbox_event::EventId;

use crate::{Event, HandlerError};

/// The error with which [`crate::Handler::handle_all`] reports that it could not handle a batch.
///
/// `?` converts every error into a `BatchError` that names no event. Like [`HandlerError`], a
/// `BatchError` does not implement `Error` itself.
pub struct BatchError(pub(crate) Failed);

/// What a handler reports about a batch that it could not handle.
pub(crate) enum Failed {
    /// The handler does not handle several events at once, and has done nothing.
    OneByOne,
    /// The handler failed because of this event.
    Event(EventId, HandlerError),
    /// The handler failed. Which event caused that is not known.
    Unknown(HandlerError),
}

impl BatchError {
    /// Creates the failure of one event of the batch. The others run again without it.
    pub fn of<P>(event: &Event<P>, error: impl Into<HandlerError>) -> Self {
        Self(Failed::Event(event.id, error.into()))
    }

    /// Creates a failure that one event of the batch has caused, without saying which. The engine
    /// runs the handler on halves of the batch until it has found the event.
    pub fn unknown(error: impl Into<HandlerError>) -> Self {
        Self(Failed::Unknown(error.into()))
    }

    /// Creates the error that makes the engine run the handler on one event after another. It says
    /// that the handler has done nothing for the batch. The default [`crate::Handler::handle_all`]
    /// returns it.
    pub fn one_by_one() -> Self {
        Self(Failed::OneByOne)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for BatchError {
    fn from(error: E) -> Self {
        Self::unknown(HandlerError::transient(error))
    }
}

impl fmt::Debug for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Failed::OneByOne => f.write_str("BatchError(one event after another)"),
            Failed::Event(event, error) => f
                .debug_tuple("BatchError")
                .field(event)
                .field(error)
                .finish(),
            Failed::Unknown(error) => f.debug_tuple("BatchError").field(error).finish(),
        }
    }
}
