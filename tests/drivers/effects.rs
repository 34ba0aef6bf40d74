//! Tests the external calls that a worker makes outside of its transactions. Each test runs on
//! RabbitMQ with PostgreSQL, and on SQLite.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox_conformance::{BrokerHarness, StoreHarness, envelope, of_number, with_receipt};
use hookbox_driver::{DeadFilter, DeadReason, Ledger, TargetLimits, TargetName};
use hookbox_event::Envelope;
use hookbox_worker::{Call, CallError, Effect, Event, RegisteredEffect, register_effect};
use tokio::sync::Barrier;

use crate::embedded::Embedded;
use crate::probe::{Instructions, Pair};
use crate::whole::{servers, settled};

both_pairs!(
    each_event_is_called_for_with_one_key,
    hundreds_of_calls_need_few_connections,
    a_target_that_is_down_costs_no_attempt,
);

/// How many calls are in flight at once in the test in which each call waits for all others.
const MANY: usize = 256;

/// An effect for tests. The first word of an event's name says how its call ends.
#[derive(Clone)]
struct Caller {
    target: TargetName,
    concurrency: u32,
    /// Each call that was made, with the name of its event.
    made: Arc<Mutex<Vec<(String, Call)>>>,
    /// Whether the target is down, so that no call reaches it.
    is_down: Arc<AtomicBool>,
    /// A barrier at which each call waits until as many calls are in flight as the barrier has
    /// places; `None` if calls do not wait.
    barrier: Option<Arc<Barrier>>,
}

impl Caller {
    fn new(concurrency: u32) -> Self {
        Self {
            target: "https://crm.example.com".parse().unwrap(),
            concurrency,
            made: Arc::default(),
            is_down: Arc::default(),
            barrier: None,
        }
    }

    fn registered(&self) -> RegisteredEffect {
        register_effect(self.clone())
    }

    fn made_for(&self, name: &str) -> Vec<Call> {
        let made = self.made.lock().unwrap();
        let of = made.iter().filter(|it| it.0 == name);
        of.map(|it| it.1.clone()).collect()
    }
}

impl Effect for Caller {
    const NAME: &'static str = "caller";
    type Payload = Instructions;

    fn target(&self) -> &TargetName {
        &self.target
    }

    fn limits(&self) -> TargetLimits {
        TargetLimits {
            concurrency: NonZeroU32::new(self.concurrency).unwrap(),
            rate: None,
        }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn call(&self, event: &Event<Instructions>, call: &Call) -> Result<(), CallError> {
        let name = event.payload.event.clone();
        self.made.lock().unwrap().push((name.clone(), call.clone()));
        if self.is_down.load(Ordering::SeqCst) {
            return Err(CallError::target_fault("connection refused"));
        }
        if let Some(barrier) = &self.barrier {
            barrier.wait().await;
        }
        match name.split('-').next().unwrap() {
            "fails" => Err(CallError::transient("fails as planned")),
            "once" if call.attempt == 1 => Err(CallError::transient("fails as planned")),
            "never" => Err(CallError::permanent("refuses as planned")),
            _ => Ok(()),
        }
    }
}

async fn each_event_is_called_for_with_one_key<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let names = ["well", "once", "never", "fails"];
    let first: Vec<Envelope> = names.iter().map(|name| envelope(name)).collect();
    pair.publish(&first).await;
    pair.publish(&[with_receipt("well", 2)]).await;
    let caller = Caller::new(8);
    let worker = pair.work_outside(caller.registered());
    let books = settled(&pair, |books| books.done == 2 && books.dead == 2).await;
    assert_eq!((books.duplicate, books.retrying), (1, 0));
    let of = |name| {
        let made = caller.made_for(name);
        let of = |call: &Call| (call.attempt, call.epoch);
        made.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(of("well"), [(1, 1)]);
    assert_eq!(of("once"), [(1, 1), (2, 2)]);
    assert_eq!(of("never"), [(1, 1)]);
    assert_eq!(of("fails"), [(1, 1), (2, 2)]);
    for name in names {
        let key = format!("{}-one-1", envelope(name).event);
        assert!(caller.made_for(name).iter().all(|call| call.key == key));
    }
    let filter = DeadFilter {
        reason: Some(DeadReason::Exhausted),
        ..DeadFilter::default()
    };
    assert_eq!(pair.store.dead_replay(&filter, 9, "ann").await.unwrap(), 1);
    settled(&pair, |books| books.dead == 2 && books.retrying == 0).await;
    let replayed = caller.made_for("fails");
    assert!(replayed.len() >= 3, "{replayed:?}");
    // A call that fails may have had its effect nevertheless. So all calls for an event must have
    // the same idempotency key, by which the receiver recognises a repetition.
    let key = format!("{}-one-1", envelope("fails").event);
    assert!(replayed.iter().all(|call| call.key == key), "{replayed:?}");
    worker.stop().await;
    assert_eq!(pair.store.imbalances(9).await.unwrap(), []);
}

async fn hundreds_of_calls_need_few_connections<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let events: Vec<Envelope> = (0..MANY).map(of_number).collect();
    for message in events.chunks(64) {
        pair.publish(message).await;
    }
    let mut caller = Caller::new(u32::try_from(MANY).unwrap());
    caller.barrier = Some(Arc::new(Barrier::new(MANY)));
    let worker = pair.work_outside(caller.registered());
    let many = MANY as u64;
    settled(&pair, |books| books.done == many).await;
    worker.stop().await;
    assert_eq!(caller.made.lock().unwrap().len(), MANY);
    assert_eq!(pair.store.imbalances(9).await.unwrap(), []);
}

async fn a_target_that_is_down_costs_no_attempt<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let events: Vec<Envelope> = (0..12).map(of_number).collect();
    pair.publish(&events).await;
    let caller = Caller::new(8);
    caller.is_down.store(true, Ordering::SeqCst);
    let worker = pair.work_outside(caller.registered());
    settled(&pair, |books| books.retrying == 12).await;
    caller.is_down.store(false, Ordering::SeqCst);
    let books = settled(&pair, |books| books.done == 12).await;
    assert_eq!((books.dead, books.retrying), (0, 0));
    worker.stop().await;
    let made = caller.made.lock().unwrap();
    assert!(made.iter().all(|(_, call)| call.attempt == 1), "{made:?}");
}
