//! The handler of a run: it writes one effect, and fails as the event's body requests.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::Start;
use hookbox_event::RouteName;
use hookbox_worker::{BatchError, Event, Handler, HandlerError};

use crate::body::{EventBody, Plan};
use crate::handler_run::{Effect, HandlerRun};
use crate::process::Process;
use crate::store::SimStore;
use crate::tx::{SimConnection, SimError};

/// The time limit of one run of the handler. Its three steps take at most 5 s, even when each of
/// them is slow. A handler that hangs delays its event by several times this limit, because each
/// copy of the message in flight may run the handler once before a failure is recorded.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(8);

/// How long a handler hangs: longer than any time limit, even that of a whole batch.
pub(crate) const HANG: Duration = Duration::from_secs(600);

pub(crate) struct Apply {
    pub process: Arc<Process>,
    pub route: RouteName,
    /// Whether the event id alone decides, so that all bodies of an event id are one event.
    pub id_decides: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the handler fails as planned")]
pub(crate) struct PlannedFailure;

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
        // The first message of an event leads to attempt 1. A replay of an event without attempts,
        // or its deferred retry, also has attempt 1, but then the store has a row for the retry.
        let is_first = event.attempt == 1 && !world.state().tables.retries.contains_key(&on);
        let start = Start {
            receipt: event.receipt,
            attempt: if is_first { 0 } else { event.attempt },
        };
        let running = self.process.isolation.begin(&self.route, &start);
        if running.is_wrong {
            let what = format!(
                "{} runs the suspected event {:?} beside other events",
                self.process.name, event.id
            );
            world.state().violate("I10", &what);
        }
        let run = HandlerRun {
            on,
            body: event.body.clone(),
            attempt: event.attempt,
        };
        self.check_first(&run);
        self.process.step("handle").await;
        // The effect is written first, so that the planned failure below must roll it back.
        self.own(tx.write(effect).await)?;
        let fails = |times: u32| event.attempt <= times;
        match event.payload.plan {
            Plan::Transient(times) if fails(times) => Err(PlannedFailure.into()),
            Plan::Permanent => Err(HandlerError::permanent(PlannedFailure)),
            Plan::Panic(times) if fails(times) => {
                // Unlike `panic!`, this does not call the panic hook, which would print the panic.
                std::panic::resume_unwind(Box::new("as planned".to_owned()))
            }
            Plan::Hang(times) if fails(times) => {
                tokio::time::sleep(HANG).await;
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

/// The same handler for batches: it handles all events of a batch at once. At random it does not
/// name the event that failed.
pub(crate) struct ApplyAll(pub Apply);

impl Handler<SimStore> for ApplyAll {
    const NAME: &'static str = "apply-all";
    type Payload = EventBody;

    async fn handle(
        &self,
        event: &Event<EventBody>,
        tx: &mut SimConnection,
    ) -> Result<(), HandlerError> {
        self.0.handle(event, tx).await
    }

    async fn handle_all(
        &self,
        events: &[Event<EventBody>],
        tx: &mut SimConnection,
    ) -> Result<(), BatchError> {
        for event in events {
            let handled = self.0.handle(event, tx).await;
            if tx.rolled_back.is_some() {
                self.may_be_orphaned(events);
            }
            if let Err(error) = handled {
                return Err(if self.0.process.world.chance.percent(50) {
                    BatchError::of(event, error)
                } else {
                    BatchError::unknown(error)
                });
            }
        }
        Ok(())
    }
}

impl ApplyAll {
    /// Notes that the handler has rolled back the transaction of all these events because of one of
    /// them. The worker cannot know which one, so it may make each of them a dead letter.
    fn may_be_orphaned(&self, events: &[Event<EventBody>]) {
        let runs = events.iter().map(|event| HandlerRun {
            on: (self.0.route.clone(), event.id),
            body: event.body.clone(),
            attempt: event.attempt,
        });
        let mut state = self.0.process.world.state();
        state.tables.rolled_back.extend(runs);
    }
}

impl Apply {
    /// Records a violation if this task repeats a run of a handler that has ended its own
    /// transaction.
    fn check_first(&self, run: &HandlerRun) {
        if self.process.has_ended(run, self.id_decides) {
            let name = &self.process.name;
            let what =
                format!("{name} repeats {run:?}, although that run ended its own transaction");
            self.process.world.state().violate("I3", &what);
        }
    }

    /// Classifies an error of the store as permanent or transient at random, as the author of a
    /// handler may do by mistake. The diagnosis of the store's driver must outrank this class.
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
