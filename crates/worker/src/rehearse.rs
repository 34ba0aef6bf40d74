//! Runs a handler on sample events in transactions that are rolled back, for the tests of handler
//! authors.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookbox_driver::{Fault, Store, describe};
use hookbox_event::{Envelope, JsonError, RouteName};

use crate::error::Class;
use crate::handler_failure::HandlerFailure;
use crate::proof::prove;
use crate::registered::{Handled, Prepared, Readied, Registered};
use crate::settle::FailureCause;
use crate::time_limits::limit_of_all;
use crate::{Event, Json, Sample};

/// The time limit of one run of a handler in a rehearsal.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How a handler was called in a rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// [`crate::Handler::handle`] was called for one event after another.
    OneByOne,
    /// [`crate::Handler::handle_all`] was called for all events.
    AllAtOnce,
}

/// Why a rehearsal did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// A body is not JSON. A worker makes such an event a dead letter, without its handler.
    #[error("the body of sample {sample} is not JSON: {why}")]
    NotJson {
        /// The position of the sample, counting from 1.
        sample: usize,
        /// What is wrong with the body.
        why: String,
    },
    /// The handler failed.
    #[error("{form} failed ({}): {error}", consequence(.permanent))]
    Failed {
        /// How the handler was called.
        form: Form,
        /// Whether the event would become a dead letter at once, instead of being tried again.
        permanent: bool,
        /// The error and its causes.
        error: String,
    },
    /// `handle` has other effects than `handle_all`.
    #[error(
        "handle and handle_all have different effects: {one_by_one} after handle, {all} after \
         handle_all"
    )]
    Differs {
        /// What the test has read after `handle` had been called for each event.
        one_by_one: String,
        /// What the test has read after `handle_all` had been called.
        all: String,
    },
    /// The test's own reading or writing in the transaction failed.
    #[error(
        "a statement of the test itself failed, and none of the handler: {}",
        describe(.0.as_ref())
    )]
    Test(Box<dyn Error + Send + Sync>),
    /// The store has failed.
    #[error("the store failed: {}", describe(.0))]
    Fault(#[from] Fault),
}

/// Returns what would become of an event whose handler failed.
fn consequence(permanent: &bool) -> &'static str {
    if *permanent {
        "the event would be a dead letter at once"
    } else {
        "the event would be tried again"
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::OneByOne => "handle",
            Form::AllAtOnce => "handle_all",
        })
    }
}

/// Runs `handler` on samples as a worker does, once by [`crate::Handler::handle`] for each of them
/// and once by [`crate::Handler::handle_all`] for all, if the handler overrides it. Each of the two
/// runs has a transaction of its own, in which the events are claimed. `prepare` runs in the
/// transaction before the handler, and `look` after it. Then the transaction is rolled back, so the
/// store does not change.
///
/// Returns what `look` has read. It is an error if `look` reads something else after the second
/// form than after the first.
pub async fn rehearse<S, T, E>(
    store: &S,
    handler: &Registered<S>,
    samples: &[Sample],
    prepare: impl AsyncFn(&mut S::Connection) -> Result<(), E>,
    look: impl AsyncFn(&mut S::Connection) -> Result<T, E>,
) -> Result<T, RehearsalError>
where
    S: Store,
    T: PartialEq + fmt::Debug,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let envelopes = envelopes(samples)?;
    let mut seen: Option<T> = None;
    for form in [Form::OneByOne, Form::AllAtOnce] {
        let mut tx = store.begin_for_handler().await?;
        let ran = async {
            let prepared = ready(store, &mut tx, handler, &envelopes).await?;
            prepare(store.connection(&mut tx)).await.map_err(of_test)?;
            if !run(store, &mut tx, &*prepared, envelopes.len(), form).await? {
                return Ok(None);
            }
            let looked = look(store.connection(&mut tx)).await;
            looked.map(Some).map_err(of_test)
        };
        let ran = ran.await;
        // After a failure the handler may have been stopped in the middle of a statement. Only
        // dropping the transaction, which closes its connection, ends that statement.
        match &ran {
            Ok(_) => store.rollback(tx).await,
            Err(_) => drop(tx),
        }
        match (seen.take(), ran?) {
            (None, now) => seen = now,
            (Some(before), Some(now)) if before != now => {
                return Err(RehearsalError::Differs {
                    one_by_one: format!("{before:?}"),
                    all: format!("{now:?}"),
                });
            }
            (Some(before), Some(_) | None) => seen = Some(before),
        }
    }
    seen.ok_or_else(|| of_test("the handler was not called"))
}

fn of_test(error: impl Into<Box<dyn Error + Send + Sync>>) -> RehearsalError {
    RehearsalError::Test(error.into())
}

/// Makes the envelopes of all samples.
fn envelopes(samples: &[Sample]) -> Result<Vec<Envelope>, RehearsalError> {
    if samples.is_empty() {
        return Err(of_test("there is no sample"));
    }
    let envelope = |(number, sample): (u64, &Sample)| sample.envelope(number);
    let envelopes = (1_u64..).zip(samples).map(envelope).enumerate();
    let not_json = |(at, made): (usize, Result<Envelope, JsonError>)| {
        made.map_err(|error| RehearsalError::NotJson {
            sample: at + 1,
            why: error.to_string(),
        })
    };
    envelopes.map(not_json).collect()
}

/// Claims the events, and makes their payloads.
async fn ready<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    handler: &Registered<S>,
    envelopes: &[Envelope],
) -> Result<Box<dyn Prepared<S>>, RehearsalError> {
    let route: RouteName = "rehearsal"
        .parse()
        .expect("the name of the route must be valid");
    let all: Vec<&Envelope> = envelopes.iter().collect();
    store.claim(tx, &route, &all).await?;
    let mut events = Vec::with_capacity(envelopes.len());
    for envelope in envelopes {
        let number = store.number(tx, &route, &envelope.event);
        let number = number.ok_or_else(|| of_test("the event of a sample is stored already"))?;
        let read = Json::read(&envelope.body);
        let read = read.map_err(|error| of_test(error.to_string()))?;
        events.push(Event::of(envelope, number, (1, 1), Some(read)));
    }
    let Readied { prepared, unready } = handler.prepare(events);
    match unready.first() {
        Some((_, why)) => Err(failed(
            Form::OneByOne,
            HandlerFailure::of_payload(store, why),
        )),
        None => Ok(prepared),
    }
}

/// Runs the handler on all events, and checks after each run that the handler has left its
/// transaction and its session intact. Returns false if the handler does not have this form.
async fn run<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    prepared: &dyn Prepared<S>,
    events: usize,
    form: Form,
) -> Result<bool, RehearsalError> {
    match form {
        Form::OneByOne => {
            for at in 0..events {
                let connection = store.connection(tx);
                let ran = prepared.handle(at, store, connection, TIME_LIMIT).await;
                let proved = prove(store, tx, ran).await?;
                proved.map_err(|failure| failed(form, failure))?;
            }
        }
        Form::AllAtOnce => {
            let connection = store.connection(tx);
            let limit = limit_of_all(TIME_LIMIT, events);
            let ran = prepared
                .handle_all(0..events, store, connection, limit)
                .await;
            let ran = match ran {
                Ok(Handled::OneByOne) => return Ok(false),
                Ok(Handled::All) => Ok(()),
                Err(failed) => Err(failed.failure),
            };
            let proved = prove(store, tx, ran).await?;
            proved.map_err(|failure| failed(form, failure))?;
        }
    }
    Ok(true)
}

fn failed(form: Form, failure: HandlerFailure) -> RehearsalError {
    let permanent = match failure.cause {
        FailureCause::Fault(kind) => {
            let fault = Fault::new(kind, "rehearse a handler", failure.error);
            return RehearsalError::Fault(fault);
        }
        FailureCause::Returned(Class::Permanent) | FailureCause::Orphaned => true,
        FailureCause::Returned(Class::Transient { .. })
        | FailureCause::Panicked
        | FailureCause::TimedOut
        | FailureCause::BrokeTransaction => false,
    };
    RehearsalError::Failed {
        form,
        permanent,
        error: failure.error,
    }
}
