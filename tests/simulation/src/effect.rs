//! The effect of a run: it makes calls that end as the event's body requests.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{TargetLimits, TargetName};
use hookbox_event::RouteName;
use hookbox_worker::{Call, CallError, Effect, Event};

use crate::body::{EventBody, Plan};
use crate::handler::{HANG, PlannedFailure, TIME_LIMIT};
use crate::on_route::OnRoute;
use crate::process::Process;

/// The longest time that a call takes, in milliseconds, unless it hangs.
const CALL_MAX_MS: u64 = 2_000;

/// Makes the calls of one route of one process.
pub(crate) struct Notify {
    pub process: Arc<Process>,
    pub route: RouteName,
    pub target: TargetName,
    pub limits: TargetLimits,
    /// Whether the route applies only the newest event of each key.
    pub newest: bool,
}

/// A call in flight. It ends when this value is dropped.
struct InFlight<'a> {
    process: &'a Process,
    on: OnRoute,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.process.world.state();
        state.tables.calls.end(self.process.number, &self.on);
    }
}

impl Effect for Notify {
    const NAME: &'static str = "notify";
    type Payload = EventBody;

    fn target(&self) -> &TargetName {
        &self.target
    }

    fn limits(&self) -> TargetLimits {
        self.limits
    }

    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    async fn call(&self, event: &Event<EventBody>, call: &Call) -> Result<(), CallError> {
        self.process.unless_dead().await;
        let world = &self.process.world;
        let _in_flight = self.begin(event, call);
        let wait = world.chance.millis(0, CALL_MAX_MS);
        tokio::time::sleep(wait).await;
        self.process.step("call").await;
        if !world.state().tables.calls.reaches() {
            return Err(CallError::target_fault(PlannedFailure));
        }
        let fails = |times: u32| event.attempt <= times;
        match event.payload.plan {
            Plan::Transient(times) if fails(times) => Err(PlannedFailure.into()),
            Plan::Permanent => Err(CallError::permanent(PlannedFailure)),
            Plan::Panic(times) if fails(times) => {
                std::panic::resume_unwind(Box::new("as planned".to_owned()))
            }
            Plan::Hang(times) if fails(times) => {
                tokio::time::sleep(HANG).await;
                Ok(())
            }
            // These plans are about the transaction of a handler, and a call has none. For a call
            // they mean that the target is not reached, or that the target is busy.
            Plan::Swallow(times) if call.epoch <= times => {
                Err(CallError::target_fault(PlannedFailure))
            }
            Plan::Commit if call.epoch == 1 => {
                let after = world.chance.millis(500, 3_000);
                Err(CallError::busy(Some(after), PlannedFailure))
            }
            Plan::Kill => {
                self.process.be_killed();
                self.process.unless_dead().await;
                Ok(())
            }
            Plan::Well
            | Plan::Transient(_)
            | Plan::Panic(_)
            | Plan::Hang(_)
            | Plan::Swallow(_)
            | Plan::Commit
            | Plan::RollBack => {
                let on = (self.route.clone(), event.id);
                world.state().tables.calls.succeeded(&on, event.round);
                Ok(())
            }
        }
    }
}

impl Notify {
    /// Notes that a call begins, and records a violation for each rule that the call breaks.
    fn begin(&self, event: &Event<EventBody>, call: &Call) -> InFlight<'_> {
        let on = (self.route.clone(), event.id);
        let world = &self.process.world;
        world.note(&format!(
            "{} calls for {:?} on {}, attempt {}, epoch {}",
            self.process.name, event.id, self.route, event.attempt, call.epoch
        ));
        let mut state = world.state();
        let calls = &mut state.tables.calls;
        let most = self.limits.concurrency.get() as usize;
        let key = self.newest.then_some(event.payload.account.as_str());
        let broken = calls.begin(self.process.number, &on, event.round, call, (most, key));
        for what in broken {
            state.violate("I3", &format!("{}: {on:?} {what}", self.process.name));
        }
        drop(state);
        InFlight {
            process: &self.process,
            on,
        }
    }
}
