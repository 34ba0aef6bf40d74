//! A broker in memory. It keeps every message that it confirms. When it reports an error, the
//! operation may have succeeded nevertheless.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault as OurFault, NotReadyKind, PublishError, PublishErrorKind, Queue,
    Readiness, Subscription,
};
use hookbox_event::{Account, RouteName, Witness, decode_batch};

use crate::delivery::QueueSubscription;
use crate::fault::Fault;
use crate::process::Process;
use crate::unavailable::unavailable;

/// The time after which a publish without a confirm fails. The broker drivers use the same time.
const CONFIRM_DEADLINE: Duration = Duration::from_millis(2_500);

/// The faults that may strike a publish, in the order in which they are drawn.
const PUBLISH: &[Fault] = &[
    Fault::Blocked,
    Fault::LostBeforePublish,
    Fault::Nack,
    Fault::Returned,
    Fault::PartlyStored,
    Fault::StoredLate,
    Fault::ConfirmLost,
    Fault::LostAfterPublish,
    Fault::StoredTwice,
];

/// The broker as one process sees it.
pub(crate) struct SimBroker {
    pub process: Arc<Process>,
}

#[async_trait]
impl Broker for SimBroker {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        let process = &self.process;
        process.step("publish").await;
        let fail = |kind| Err(PublishError::plain(kind));
        if process.world.state().queues.away {
            if process.world.chance.percent(30) {
                tokio::time::sleep(CONFIRM_DEADLINE).await;
                return fail(PublishErrorKind::TimedOut);
            }
            return fail(PublishErrorKind::Unavailable);
        }
        let fault = process.world.one_of(PUBLISH, &process.name);
        let stored = self.store(fault, routes, batch);
        process.step("confirm").await;
        match fault {
            None | Some(Fault::StoredTwice) => {
                self.confirm(routes, batch);
                debug_assert_eq!(stored, routes.len());
                Ok(())
            }
            Some(Fault::Blocked) => fail(PublishErrorKind::Blocked),
            Some(Fault::Nack | Fault::PartlyStored) => fail(PublishErrorKind::Rejected),
            Some(Fault::Returned) => fail(PublishErrorKind::Unroutable),
            Some(Fault::LostBeforePublish | Fault::LostAfterPublish) => {
                let mut state = process.world.state();
                state.queues.lose_connections(process.number);
                fail(PublishErrorKind::Unavailable)
            }
            Some(_) => {
                tokio::time::sleep(CONFIRM_DEADLINE).await;
                process.unless_dead().await;
                fail(PublishErrorKind::TimedOut)
            }
        }
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        let process = &self.process;
        process.step("publish an accept report").await;
        let state = process.world.state();
        if state.queues.away {
            return Err(PublishError::plain(PublishErrorKind::Unavailable));
        }
        drop(state);
        let whom = format!("{} reports", process.name);
        let faults = [Fault::LostBeforePublish, Fault::ConfirmLost];
        let fault = process.world.one_of(&faults, &whom);
        if fault != Some(Fault::LostBeforePublish) {
            let mut state = process.world.state();
            state.queues.put(&Queue::Accounts, account.encode(), None);
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(PublishError::plain(PublishErrorKind::Unavailable)),
        }
    }

    async fn publish_witness(&self, witness: &Witness) -> Result<(), PublishError> {
        self.process.unless_dead().await;
        let mut state = self.process.world.state();
        let away = state.queues.away;
        if !away && state.tables.witnesses.publish(witness) {
            return Ok(());
        }
        Err(PublishError::plain(PublishErrorKind::Unavailable))
    }

    async fn witnesses(&self) -> Result<Vec<Witness>, OurFault> {
        self.process.unless_dead().await;
        let state = self.process.world.state();
        if state.queues.away {
            return Err(unavailable("read the witness messages"));
        }
        Ok(state.tables.witnesses.held())
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, OurFault> {
        let process = &self.process;
        process.step("subscribe").await;
        let world = &process.world;
        let away = world.state().queues.away;
        if away || world.strikes(Fault::SubscribeFailed, &process.name) {
            return Err(unavailable("subscribe"));
        }
        let mut state = world.state();
        let (consumer, notify) = state.queues.subscribe(queue, prefetch, process.number);
        let text = format!(
            "{} subscribes to {queue} as consumer {consumer}",
            process.name
        );
        state.trace.note(&text);
        Ok(Box::new(QueueSubscription {
            process: Arc::clone(process),
            queue: queue.clone(),
            consumer,
            notify,
        }))
    }

    async fn depths(&self) -> Result<Vec<Depth>, OurFault> {
        self.process.step("depths").await;
        Ok(Vec::new())
    }

    fn readiness(&self) -> Readiness {
        if self.process.world.state().queues.away {
            Readiness::not_ready(NotReadyKind::Unreachable, "the broker is unreachable")
        } else {
            Readiness::Ready
        }
    }

    async fn close(&self) {
        self.process.step("close the broker").await;
    }
}

impl SimBroker {
    /// Stores the batch in the queues that it reaches under this fault, and returns their number.
    fn store(&self, fault: Option<Fault>, routes: &[RouteName], batch: &Batch) -> usize {
        let process = &self.process;
        let some = process.world.chance.below(routes.len() as u64);
        let some = usize::try_from(some).unwrap_or(0);
        let (count, copies) = match fault {
            None | Some(Fault::ConfirmLost | Fault::LostAfterPublish) => (routes.len(), 1),
            Some(Fault::StoredTwice) => (routes.len(), 2),
            Some(Fault::Returned | Fault::PartlyStored) => (some, 1),
            Some(Fault::StoredLate) => {
                self.store_later(routes, batch);
                (0, 0)
            }
            Some(_) => (0, 0),
        };
        let mut state = process.world.state();
        for route in &routes[..count] {
            for _ in 0..copies {
                let queue = Queue::Route(route.clone());
                let number = state.queues.put(&queue, batch.bytes.clone(), None);
                let text = format!(
                    "{} stores message {number} of {} in {queue}",
                    process.name, batch.count
                );
                state.trace.note(&text);
            }
        }
        count
    }

    fn store_later(&self, routes: &[RouteName], batch: &Batch) {
        let world = &self.process.world;
        let wait = world.chance.millis(1_000, 8_000);
        let (routes, bytes) = (routes.to_vec(), batch.bytes.clone());
        world.after(wait, move |world| {
            let mut state = world.state();
            for route in routes {
                let queue = Queue::Route(route);
                let number = state.queues.put(&queue, bytes.clone(), None);
                let text = format!("message {number} arrives late in {queue}");
                state.trace.note(&text);
            }
        });
    }

    fn confirm(&self, routes: &[RouteName], batch: &Batch) {
        let frames = decode_batch(&batch.bytes).unwrap_or_default();
        let mut state = self.process.world.state();
        for envelope in frames.into_iter().flatten() {
            for route in routes {
                let known = (route.clone(), envelope.receipt);
                state.queues.confirmed.insert(known);
            }
        }
    }
}
