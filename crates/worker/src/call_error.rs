//! The error type of effects: how an external call failed, and whose fault that is.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookbox_driver::describe;

use crate::HandlerError;
use crate::error::Class;

/// The error with which an effect reports that its call failed.
///
/// Like [`HandlerError`], it converts from every error, so `?` works everywhere. An error that `?`
/// converts is *transient*: the call is made again a limited number of times, and each failure is
/// recorded. `.or_reject()?` makes an error permanent, as in a handler.
///
/// The text of the error and its causes is stored beside the event, for operators. Only the text of
/// a fault of the target ([`CallError::busy`], [`CallError::target_fault`]) is also written to the
/// log and stored with the target. So pass what the target itself wrote to
/// [`CallError::with_answer`], and keep it out of the error.
pub struct CallError {
    pub(crate) class: CallClass,
    cause: Box<dyn Error + Send + Sync>,
    answer: Option<String>,
}

/// How the author of an effect classifies the failure of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallClass {
    Transient { wish: Option<Duration> },
    Permanent,
    Busy { after: Option<Duration> },
    TargetFault,
    Unanswered,
}

impl CallError {
    /// Creates a failure that no further call can avoid: the event becomes a dead letter at once.
    pub fn permanent(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CallClass::Permanent, cause)
    }

    /// Creates a failure of this event, which another call may avoid. The route's retry policy
    /// decides when that call follows.
    pub fn transient(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CallClass::Transient { wish: None }, cause)
    }

    /// Creates a failure of this event, which another call may avoid. That call follows after about
    /// the time `wish`, as far as the route's retry policy allows.
    pub fn retry_after(wish: Duration, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CallClass::Transient { wish: Some(wish) }, cause)
    }

    /// Creates the failure of a call that the target answered with a request for a pause, such as
    /// the HTTP status 429. No route calls the target for the time `after`, limited by the route's
    /// retry policy, or for one second if `after` is `None`. For the first hour in which an event
    /// fails in this way, no such failure counts as an attempt. After that hour, each one counts.
    pub fn busy(after: Option<Duration>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CallClass::Busy { after }, cause)
    }

    /// Creates the failure of a call that did not reach the target's service: a refused connection,
    /// a failed handshake, or a proxy's report that the service is down. When the calls for several
    /// events fail like this in a row, all workers stop calling the target, and then probe it with
    /// one call at a time until one is answered. During such an outage, the failure does not count
    /// as an attempt. If the target answers the calls for other events, it does not count for the
    /// first hour either, but each later failure does.
    pub fn target_fault(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CallClass::TargetFault, cause)
    }

    /// Creates the failure of a call that was not answered: it took too long, or the connection was
    /// lost. It is unknown whether the call had its effect. It counts as an attempt, as a transient
    /// failure does. But it does not show that the target works: a target that is probed with one
    /// call at a time is probed further.
    pub fn unanswered(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CallClass::Unanswered, cause)
    }

    /// Adds what the target answered. The answer is stored beside the event with the error, and
    /// nowhere else, because it may contain personal data.
    #[must_use]
    pub fn with_answer(self, answer: impl Into<String>) -> Self {
        Self {
            answer: Some(answer.into()),
            ..self
        }
    }

    fn new(class: CallClass, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            class,
            cause: cause.into(),
            answer: None,
        }
    }

    /// Returns the error, its causes and what the target answered in one line, as it is stored.
    pub(crate) fn text(&self) -> String {
        let text = describe(&*self.cause);
        match &self.answer {
            Some(answer) => format!("{text}: {answer}"),
            None => text,
        }
    }

    /// Returns why the target was not reached, or how it asked for a pause. This text is logged,
    /// and stored with the target. `None` if the failure is not a fault of the target.
    pub(crate) fn target_error(&self) -> Option<String> {
        match self.class {
            CallClass::Busy { .. } | CallClass::TargetFault => Some(describe(&*self.cause)),
            CallClass::Transient { .. } | CallClass::Permanent | CallClass::Unanswered => None,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for CallError {
    fn from(error: E) -> Self {
        Self::transient(error)
    }
}

impl From<HandlerError> for CallError {
    fn from(error: HandlerError) -> Self {
        let class = CallClass::from(error.class);
        Self::new(class, error.into_cause())
    }
}

impl From<Class> for CallClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Transient { wish } => CallClass::Transient { wish },
            Class::Permanent => CallClass::Permanent,
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError")
            .field("class", &self.class)
            .field("cause", &self.text())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OrReject;

    fn number(text: &str) -> Result<u32, CallError> {
        Ok(text.parse::<u32>()?)
    }

    fn required(text: &str) -> Result<u32, CallError> {
        Ok(text.parse::<u32>().or_reject()?)
    }

    #[test]
    fn an_error_is_transient_unless_the_author_says_otherwise() {
        let transient = CallClass::Transient { wish: None };
        assert_eq!(number("x").map_err(|error| error.class), Err(transient));
        let permanent = CallClass::Permanent;
        assert_eq!(required("x").map_err(|error| error.class), Err(permanent));
        let error = number("x").expect_err("x must not be read as a number");
        assert_eq!(error.text(), "invalid digit found in string");
    }

    #[test]
    fn an_answer_of_the_target_is_stored_only_beside_the_event() {
        for (error, expect) in [
            (CallError::busy(None, "429"), Some("429".to_owned())),
            (CallError::target_fault("502"), Some("502".to_owned())),
            (CallError::transient("500"), None),
            (CallError::permanent("400"), None),
            (CallError::unanswered("late"), None),
        ] {
            let plain = error.text();
            let error = error.with_answer("no, Ada");
            assert_eq!(error.text(), format!("{plain}: no, Ada"));
            assert_eq!(error.target_error(), expect);
        }
    }
}
