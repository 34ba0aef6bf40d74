//! A handler that does with each event what the test says, and records which events ran at the same
//! time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hookbox_driver::FaultKind;
use hookbox_event::EventId;
use hookbox_worker::{BatchError, Event, Handler, HandlerError, OrReject};
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;

use crate::memory_process::MemoryProcess;
use crate::memory_store::{MemoryConnection, MemoryError, MemoryStore};

/// What a run of the handler does with its event.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Succeed,
    /// Succeeds after this time.
    Take(Duration),
    /// Returns a transient failure.
    Fail,
    /// Returns a transient failure that asks for this delay.
    FailFor(Duration),
    /// Returns a transient failure whose text panics.
    FailWithoutText,
    /// Returns a permanent failure.
    Reject,
    Panic,
    /// Panics when it is called, before it returns its future.
    PanicAtCall,
    /// Never returns.
    Hang,
    /// Hangs, and makes the store unavailable from then on.
    HangInOutage,
    /// Never returns, and the process is stopped for this time first.
    Freeze(Duration),
    /// Returns an error of the store that the handler wrongly classifies as permanent.
    Store(FaultKind),
    /// Continues after a failed statement.
    BreakTransaction,
    /// Commits the transaction itself, which a handler must not do.
    EndTransaction,
    /// Commits the transaction itself, and then returns a transient failure.
    EndAndFail,
    /// Rolls the transaction back itself, which a handler must not do.
    RollBack,
    /// Ends its process.
    Kill,
}

/// One run of the handler.
#[derive(Debug, Clone)]
pub struct Run {
    pub event: EventId,
    pub attempt: u32,
    pub round: u32,
    pub body: Bytes,
    pub at: Instant,
    /// The events that were running in the same process when this run started.
    pub beside: Vec<EventId>,
}

/// What the handlers of all processes do.
#[derive(Default)]
pub struct Script {
    acts: Mutex<BTreeMap<EventId, VecDeque<Act>>>,
    always: Mutex<BTreeMap<EventId, Act>>,
    runs: Mutex<Vec<Run>>,
    running: Mutex<Vec<(u64, EventId)>>,
    batches: Mutex<Vec<Vec<EventId>>>,
    /// Whether a handler of batches does not name the event that it could not handle.
    pub is_nameless: AtomicBool,
    /// Whether a handler of batches panics when it is called, before it returns its future.
    pub panics_at_call: AtomicBool,
}

impl Script {
    /// Sets what the next runs of an event do, in this order. Later runs succeed.
    pub fn next(&self, event: EventId, acts: impl IntoIterator<Item = Act>) {
        self.acts
            .lock()
            .unwrap()
            .insert(event, acts.into_iter().collect());
    }

    /// Sets what every run of an event does, until it is changed.
    pub fn always(&self, event: EventId, act: Act) {
        self.always.lock().unwrap().insert(event, act);
    }

    pub fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap().clone()
    }

    pub fn runs_of(&self, event: EventId) -> Vec<Run> {
        let runs = self.runs();
        runs.into_iter().filter(|run| run.event == event).collect()
    }

    /// Returns whether a handler is running for this event now.
    pub fn is_running(&self, event: EventId) -> bool {
        self.running.lock().unwrap().iter().any(|it| it.1 == event)
    }

    /// Returns whether no other handler ran in the process during the last run of this event.
    pub fn was_isolated(&self, event: EventId) -> bool {
        let runs = self.runs();
        let Some(last) = runs.iter().rposition(|run| run.event == event) else {
            return false;
        };
        let later = &runs[last..];
        runs[last].beside.is_empty() && !later.iter().any(|run| run.beside.contains(&event))
    }

    /// Returns the events of each call of `handle_all`.
    pub fn batches(&self) -> Vec<Vec<EventId>> {
        self.batches.lock().unwrap().clone()
    }

    pub fn end_all_of(&self, process: u64) {
        self.running.lock().unwrap().retain(|it| it.0 != process);
    }

    fn begin(&self, process: u64, handled: &Event<AnyButZero>) -> Act {
        let event = handled.id;
        let mut running = self.running.lock().unwrap();
        let own = running.iter().filter(|it| it.0 == process);
        let beside = own.map(|it| it.1).collect();
        running.push((process, event));
        self.runs.lock().unwrap().push(Run {
            event,
            attempt: handled.attempt,
            round: handled.round,
            body: handled.body.clone(),
            at: Instant::now(),
            beside,
        });
        let mut acts = self.acts.lock().unwrap();
        let next = acts.get_mut(&event).and_then(VecDeque::pop_front);
        let always = || self.always.lock().unwrap().get(&event).copied();
        next.or_else(always).unwrap_or(Act::Succeed)
    }

    fn end(&self, process: u64, event: EventId) {
        let mut running = self.running.lock().unwrap();
        running.retain(|it| *it != (process, event));
    }
}

/// The payload of the handlers. It can be made from any JSON but the number 0. From a greater
/// number, it takes that many seconds.
#[derive(Debug)]
pub struct AnyButZero;

impl<'de> Deserialize<'de> for AnyButZero {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)?.as_i64() {
            Some(0) => Err(serde::de::Error::custom("the payload is 0")),
            Some(seconds) => {
                let time = Duration::from_secs(seconds.unsigned_abs());
                // The first poll of this future advances the paused clock.
                let _ = tokio::time::advance(time).now_or_never();
                Ok(Self)
            }
            None => Ok(Self),
        }
    }
}

/// An error with a bug.
#[derive(Debug)]
struct WithoutText;

impl fmt::Display for WithoutText {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("the error has a bug")
    }
}

impl std::error::Error for WithoutText {}

/// The handler of one process.
pub struct Scripted<const TRUSTED: bool>(pub Arc<MemoryProcess>);

/// Marks a run of the handler. The run ends when this value is dropped, so that a cancelled run
/// ends too.
struct Running<'a>(&'a MemoryProcess, EventId);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.0.is_dead() {
            self.0.script.end(self.0.number, self.1);
        }
    }
}

impl<const T: bool> Handler<MemoryStore> for Scripted<T> {
    const NAME: &'static str = "scripted";
    const TRUSTED: bool = T;
    type Payload = AnyButZero;

    fn handle(
        &self,
        event: &Event<AnyButZero>,
        tx: &mut MemoryConnection,
    ) -> impl Future<Output = Result<(), HandlerError>> {
        let process = &*self.0;
        let act = process.script.begin(process.number, event);
        let running = Running(process, event.id);
        tx.effects.push(event.id);
        if let Act::PanicAtCall = act {
            panic!("the handler has a bug");
        }
        async move {
            let _running = running;
            match act {
                Act::Succeed => Ok(()),
                Act::Take(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Act::Fail => Err(HandlerError::transient("it failed")),
                Act::FailWithoutText => Err(HandlerError::transient(WithoutText)),
                Act::FailFor(wish) => Err(HandlerError::retry_after(wish, "it failed")),
                Act::Reject => Err(HandlerError::permanent("the handler never accepts it")),
                Act::Panic | Act::PanicAtCall => panic!("the handler has a bug"),
                Act::Hang => std::future::pending().await,
                Act::HangInOutage => {
                    process.tables.state().is_unavailable = true;
                    std::future::pending().await
                }
                Act::Freeze(time) => {
                    // The first poll of this future advances the paused clock.
                    let _ = tokio::time::advance(time).now_or_never();
                    std::future::pending().await
                }
                Act::Store(kind) => Err(MemoryError(kind)).or_reject(),
                Act::BreakTransaction => {
                    tx.is_broken = true;
                    Ok(())
                }
                Act::EndTransaction => {
                    tx.commit();
                    Ok(())
                }
                Act::EndAndFail => {
                    tx.commit();
                    Err(HandlerError::transient("it failed"))
                }
                Act::RollBack => {
                    tx.roll_back();
                    Ok(())
                }
                Act::Kill => {
                    process.die();
                    std::future::pending().await
                }
            }
        }
    }
}

/// The same handler for batches: it handles all events of a batch in one call, each as the script
/// says.
pub struct AtOnce<const TRUSTED: bool>(pub Scripted<TRUSTED>);

impl<const T: bool> Handler<MemoryStore> for AtOnce<T> {
    const NAME: &'static str = "at-once";
    const TRUSTED: bool = T;
    type Payload = AnyButZero;

    fn handle(
        &self,
        event: &Event<AnyButZero>,
        tx: &mut MemoryConnection,
    ) -> impl Future<Output = Result<(), HandlerError>> {
        self.0.handle(event, tx)
    }

    fn handle_all(
        &self,
        events: &[Event<AnyButZero>],
        tx: &mut MemoryConnection,
    ) -> impl Future<Output = Result<(), BatchError>> {
        let script = &self.0.0.script;
        let ids = events.iter().map(|event| event.id).collect();
        script.batches.lock().unwrap().push(ids);
        if script.panics_at_call.load(Ordering::Relaxed) {
            panic!("the handler of batches has a bug");
        }
        async move {
            for event in events {
                if let Err(error) = self.0.handle(event, tx).await {
                    return Err(if script.is_nameless.load(Ordering::Relaxed) {
                        BatchError::unknown(error)
                    } else {
                        BatchError::of(event, error)
                    });
                }
            }
            Ok(())
        }
    }
}
