//! The error type of handlers: a failure is transient unless the author makes it permanent.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookbox_driver::describe;

/// The error with which a handler reports that it could not handle an event.
///
/// Like `anyhow::Error`, it converts from every error and does not implement `Error` itself, so `?`
/// works everywhere. An error that `?` converts is *transient*: the event is retried a limited
/// number of times, and each failure is recorded. If the driver finds that the cause is a fault of
/// the database, it does not matter what the handler's author chose: `or_reject` on an insert
/// during an outage makes no dead letter.
pub struct HandlerError {
    pub(crate) class: Class,
    cause: Box<dyn Error + Send + Sync>,
}

/// How the author of a handler classifies a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Transient { wish: Option<Duration> },
    Permanent,
}

impl HandlerError {
    /// Creates a failure that no further attempt can avoid: the event becomes a dead letter at
    /// once.
    pub fn permanent(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            class: Class::Permanent,
            cause: cause.into(),
        }
    }

    /// Creates a transient failure, which another attempt may avoid. The route's retry policy
    /// decides when that attempt follows.
    pub fn transient(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            class: Class::Transient { wish: None },
            cause: cause.into(),
        }
    }

    /// Creates a transient failure, which another attempt may avoid. That attempt follows after
    /// about the time `wish`, as far as the route's retry policy allows (never later than its
    /// longest delay).
    pub fn retry_after(wish: Duration, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            class: Class::Transient { wish: Some(wish) },
            cause: cause.into(),
        }
    }

    /// Returns the cause of the failure.
    pub(crate) fn cause(&self) -> &(dyn Error + 'static) {
        &*self.cause
    }

    /// Converts the error into its cause.
    pub(crate) fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        self.cause
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::transient(error)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError")
            .field("class", &self.class)
            .field("cause", &describe(&*self.cause))
            .finish()
    }
}

/// Turns an error into a permanent failure: `Cents::parse(&amount).or_reject()?`.
pub trait OrReject<T> {
    /// Returns the value, or the error as a permanent failure.
    fn or_reject(self) -> Result<T, HandlerError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrReject<T> for Result<T, E> {
    fn or_reject(self) -> Result<T, HandlerError> {
        self.map_err(HandlerError::permanent)
    }
}
