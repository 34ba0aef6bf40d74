//! An effect that ends each call as the test says, and records the calls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox_driver::{TargetLimits, TargetName};
use hookbox_event::EventId;
use hookbox_worker::{Call, CallError, Effect, Event};
use tokio::time::{Instant, sleep};

use crate::memory_process::MemoryProcess;
use crate::script::AnyButZero;
use crate::world::TIME_LIMIT;

/// How a call ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Succeed,
    /// Succeeds after this time.
    Take(Duration),
    /// Fails with a transient error.
    Fail,
    /// Fails with a transient error that asks for this delay.
    FailFor(Duration),
    /// Fails with a permanent error.
    Reject,
    /// Fails because the target asks for a pause.
    Busy(Option<Duration>),
    /// Fails because the target is not reached.
    Fault,
    Panic,
    /// Never returns.
    Hang,
    /// Ends its process.
    Kill,
}

/// One call that was made.
#[derive(Debug, Clone)]
pub struct Made {
    pub event: EventId,
    pub call: Call,
    pub at: Instant,
    /// How many calls were in flight, in all processes, when this one began. This call is included.
    pub in_flight: usize,
}

/// What the effects of all processes do.
#[derive(Default)]
pub struct CallScript {
    next: Mutex<BTreeMap<EventId, VecDeque<End>>>,
    always: Mutex<Option<End>>,
    made: Mutex<Vec<Made>>,
    in_flight: Mutex<Vec<(u64, EventId)>>,
}

impl CallScript {
    /// Sets how the next calls for an event end, in this order. Later calls end as those for which
    /// nothing is set.
    pub fn next(&self, event: EventId, ends: impl IntoIterator<Item = End>) {
        let ends = ends.into_iter().collect();
        self.next.lock().unwrap().insert(event, ends);
    }

    /// Sets how each call ends for which `next` sets nothing.
    pub fn always(&self, end: End) {
        *self.always.lock().unwrap() = Some(end);
    }

    pub fn made(&self) -> Vec<Made> {
        self.made.lock().unwrap().clone()
    }

    pub fn made_for(&self, event: EventId) -> Vec<Made> {
        let made = self.made();
        made.into_iter().filter(|it| it.event == event).collect()
    }

    /// Returns the epochs of the calls for an event.
    pub fn epochs(&self, event: EventId) -> Vec<u32> {
        let made = self.made_for(event);
        made.iter().map(|it| it.call.epoch).collect()
    }

    /// Returns how many calls are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.lock().unwrap().len()
    }

    pub fn end_all_of(&self, process: u64) {
        self.in_flight.lock().unwrap().retain(|it| it.0 != process);
    }

    fn begin(&self, process: u64, event: EventId, call: &Call) -> End {
        let mut in_flight = self.in_flight.lock().unwrap();
        in_flight.push((process, event));
        self.made.lock().unwrap().push(Made {
            event,
            call: call.clone(),
            at: Instant::now(),
            in_flight: in_flight.len(),
        });
        let mut next = self.next.lock().unwrap();
        let next = next.get_mut(&event).and_then(VecDeque::pop_front);
        let always = || *self.always.lock().unwrap();
        next.or_else(always).unwrap_or(End::Succeed)
    }

    fn end(&self, process: u64, event: EventId) {
        let mut in_flight = self.in_flight.lock().unwrap();
        if let Some(at) = in_flight.iter().position(|it| *it == (process, event)) {
            in_flight.remove(at);
        }
    }
}

/// The effect of one process.
pub struct Calling {
    pub process: Arc<MemoryProcess>,
    pub target: TargetName,
    pub limits: TargetLimits,
}

/// Marks a call in flight. It ends when this value is dropped, so a call that is cut short ends,
/// too.
struct InFlight<'a>(&'a MemoryProcess, EventId);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.0.is_dead() {
            self.0.calls.end(self.0.number, self.1);
        }
    }
}

impl Effect for Calling {
    const NAME: &'static str = "calling";
    type Payload = AnyButZero;

    fn target(&self) -> &TargetName {
        &self.target
    }

    fn limits(&self) -> TargetLimits {
        self.limits
    }

    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    async fn call(&self, event: &Event<AnyButZero>, call: &Call) -> Result<(), CallError> {
        let process = &*self.process;
        let end = process.calls.begin(process.number, event.id, call);
        let _in_flight = InFlight(process, event.id);
        match end {
            End::Succeed => Ok(()),
            End::Take(time) => {
                sleep(time).await;
                Ok(())
            }
            End::Fail => Err(CallError::transient("it failed")),
            End::FailFor(wish) => Err(CallError::retry_after(wish, "it failed")),
            End::Reject => Err(CallError::permanent("the handler never accepts it")),
            End::Busy(after) => Err(CallError::busy(after, "429")),
            End::Fault => Err(CallError::target_fault("connection refused")),
            End::Panic => panic!("the effect has a bug"),
            End::Hang => std::future::pending().await,
            End::Kill => {
                process.die();
                std::future::pending().await
            }
        }
    }
}
