//! What is written of an event outside of its own transaction: a failed attempt, a deferral, bytes
//! that are no envelope. Each of them must be written, through every outage.

use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{
    Burial, DeferReason, Deferral, Deferred, Failure, FailureClass, Recorded, Store, Then,
};

use crate::attempt::EventTrouble;
use crate::counters::add;
use crate::process::{Process, Stopped};

/// The shortest wait of an event that is put off: what it waits for may take no longer.
const DEFERRED_LEAST: Duration = Duration::from_secs(1);

/// The longest. It bounds how long the end of a lock goes unnoticed.
const DEFERRED_MOST: Duration = Duration::from_secs(60);

/// What a store keeps in a transaction of its own.
pub(crate) enum Record<'a> {
    Burial(Burial<'a>),
    Failure(Failure<'a>),
}

impl<S: Store> Process<'_, S> {
    /// Has an event wait in the store for the attempt that was not made, so that the message is
    /// settled and the route resumes with others.
    pub(crate) async fn put_off(
        &self,
        trouble: &EventTrouble,
        reason: DeferReason,
    ) -> Result<Deferred, Stopped> {
        let envelope = &trouble.envelope;
        let deferral = Deferral {
            route: self.route,
            envelope,
            attempt: trouble.attempt,
            attempts_before: trouble.attempts_before,
            other_digest: trouble.other_digest,
            reason,
            least: DEFERRED_LEAST.mul_f64(0.5 + self.rng.unit()),
            most: DEFERRED_MOST,
            age_max: self.age_max(trouble, reason),
        };
        let mut pause = self.pause();
        let deferred = loop {
            crash_point!("worker.before_record");
            match self.store.defer(&deferral).await {
                Ok(deferred) => break deferred,
                Err(fault) => self.wait(&mut pause, &fault).await?,
            }
        };
        crash_point!("worker.after_record");
        pause.over();
        if deferred == Deferred::Recorded {
            add(&self.counters.deferred, 1);
            tracing::info!(
                event.id = %envelope.event,
                event.topic = %envelope.topic,
                route = %self.route,
                attempt = trouble.attempt,
                reason = reason.as_str(),
                "event {} is deferred on route {} ({}); this costs it no attempt",
                envelope.event,
                self.route,
                reason.as_str()
            );
        }
        Ok(deferred)
    }

    /// How long the event may be put off in all. A handler that was denied something is noted
    /// here, and pauses the route where it is not the only one.
    fn age_max(&self, trouble: &EventTrouble, reason: DeferReason) -> Option<Duration> {
        match reason {
            DeferReason::ForeignLock => return None,
            DeferReason::MissingRight => {}
        }
        let (rights, remedy) = (&self.counters.rights, trouble.failed.remedy.as_deref());
        if rights.deny(trouble.envelope.event, remedy) {
            tracing::error!(
                route = %self.route,
                remedy = remedy.unwrap_or("unknown"),
                "route {} is paused: its handler is denied what it needs for every event; events \
                 wait without an attempt, and one at a time is tried until it succeeds",
                self.route
            );
        }
        rights.age_max()
    }

    pub(crate) async fn record(
        &self,
        trouble: &EventTrouble,
        class: FailureClass,
        then: Then,
    ) -> Result<Recorded, Stopped> {
        let envelope = &trouble.envelope;
        let failure = Failure {
            route: self.route,
            envelope,
            attempt: trouble.attempt,
            attempts_before: trouble.attempts_before,
            other_digest: trouble.other_digest,
            class,
            error: trouble.failed.error.clone(),
            took: trouble.took,
            then,
        };
        if self.write(Record::Failure(failure)).await? == Recorded::Superseded {
            return Ok(Recorded::Superseded);
        }
        match then {
            Then::Retry { after } => {
                add(&self.counters.retrying, 1);
                tracing::info!(
                    event.id = %envelope.event,
                    event.topic = %envelope.topic,
                    route = %self.route,
                    attempt = trouble.attempt,
                    class = class.as_str(),
                    after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                    "attempt {} on event {} failed ({}); it will be tried again",
                    trouble.attempt,
                    envelope.event,
                    class.as_str()
                );
            }
            Then::Dead { reason } => {
                add(&self.counters.dead, 1);
                tracing::warn!(
                    event.id = %envelope.event,
                    event.topic = %envelope.topic,
                    route = %self.route,
                    attempt = trouble.attempt,
                    class = class.as_str(),
                    reason = reason.as_str(),
                    "event {} is a dead letter of route {} ({}) after {} attempts; see \
                     `hookbox dead list`",
                    envelope.event,
                    self.route,
                    reason.as_str(),
                    trouble.attempt
                );
            }
        }
        Ok(Recorded::Recorded)
    }

    /// Writes a record that must be written, through every outage.
    pub(crate) async fn write(&self, record: Record<'_>) -> Result<Recorded, Stopped> {
        let mut pause = self.pause();
        loop {
            crash_point!("worker.before_record");
            let written = match &record {
                Record::Burial(burial) => self.store.bury(burial).await,
                Record::Failure(failure) => self.store.fail(failure).await,
            };
            match written {
                Ok(recorded) => {
                    crash_point!("worker.after_record");
                    pause.over();
                    return Ok(recorded);
                }
                Err(fault) => self.wait(&mut pause, &fault).await?,
            }
        }
    }
}
