//! The handler of a run: writes one effect, and fails as the event's body says.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::Start;
use hookbox_event::RouteName;
use hookbox_worker::{Event, Handler, HandlerError};

use crate::body::{EventBody, Plan};
use crate::process::Process;
use crate::store::SimStore;
use crate::tables::Effect;
use crate::tx::{SimConnection, SimError};

/// How long one run of a handler may take. Its three steps are done in 5 s, however slow they
/// are. Until a failure is recorded, every copy of the message that is in flight may run the
/// handler once, so that one which hangs delays its event by a multiple of this.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(8);

pub(crate) struct Apply {
    pub process: Arc<Process>,
    pub route: RouteName,
}

#[derive(Debug, thiserror::Error)]
#[error("it fails as planned")]
struct PlannedFailure;

impl Handler<SimStore> for Apply {
    const NAME: &'static str = "apply";
    type Payload = EventBody;

    async fn handle(
        &self,
        event: &Event<EventBody>,
        tx: &mut SimConnection,
    ) -> Result<(), HandlerError> {
        let world = &self.process.world;
        let effect = Effect {
            route: self.route.clone(),
            event: event.id,
            body: event.body.clone(),
            by: self.process.name.clone(),
            attempt: event.attempt,
        };
        world.note(&format!(
            "{} handles {:?} on {}, attempt {}",
            self.process.name, event.id, self.route, event.attempt
        ));
        let on = (self.route.clone(), event.id);
        // For an event without an attempt, a replay or a deferred retry is the first one.
        let is_first = event.attempt == 1 && !world.state().tables.retries.contains_key(&on);
        let start = Start {
            receipt: event.receipt,
            attempt: if is_first { 0 } else { event.attempt },
        };
        let running = self.process.isolation.begin(&self.route, &start);
        if running.is_wrong {
            let what = format!("{} runs {:?} beside others", self.process.name, event.id);
            world.state().violate("I10", &what);
        }
        let run = (on, event.attempt);
        if self.process.has_ended(&run) {
            let name = &self.process.name;
            let what = format!("{name} runs {run:?} again, which has ended its transaction");
            world.state().violate("I3", &what);
        }
        self.process.step("handle").await;
        // Written first: what follows must take it back.
        self.own(tx.write(effect).await)?;
        let fails = |times: u32| event.attempt <= times;
        match event.payload.plan {
            Plan::Transient(times) if fails(times) => Err(PlannedFailure.into()),
            Plan::Permanent => Err(HandlerError::permanent(PlannedFailure)),
            Plan::Panic(times) if fails(times) => {
                // Unwinds without the hook that would print it.
                std::panic::resume_unwind(Box::new("as planned".to_owned()))
            }
            Plan::Hang(times) if fails(times) => {
                tokio::time::sleep(TIME_LIMIT * 2).await;
                Ok(())
            }
            Plan::Swallow(times) if fails(times) => match tx.refused().await {
                Ok(()) | Err(SimError::Refused) => Ok(()),
                error => self.own(error),
            },
            Plan::Commit => self.own(tx.commit().await),
            Plan::RollBack => self.own(tx.roll_back(&run).await),
            Plan::Kill => {
                self.process.be_killed();
                self.process.unless_dead().await;
                Ok(())
            }
            Plan::Well | Plan::Transient(_) | Plan::Panic(_) | Plan::Hang(_) | Plan::Swallow(_) => {
                Ok(())
            }
        }
    }
}

impl Apply {
    /// What its author makes of an error of the store; the driver's word outranks it.
    fn own(&self, result: Result<(), SimError>) -> Result<(), HandlerError> {
        result.map_err(|error| {
            if self.process.world.chance.percent(50) {
                HandlerError::permanent(error)
            } else {
                HandlerError::transient(error)
            }
        })
    }
}
