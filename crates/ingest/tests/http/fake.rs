//! A broker in memory whose behaviour a test sets, and a random generator for tests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, FaultKind, PublishError, PublishErrorKind, Queue, Readiness, Rng,
    Subscription,
};
use hookbox_event::{Account, Envelope, RouteName, Timestamp, decode_batch};
use tokio::sync::watch;

use crate::client::PATIENCE;

/// What the broker does with a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stores the batch and confirms it.
    Take,
    /// Answers with an error.
    Fail(PublishErrorKind),
    /// Does not answer a publish until the test changes the mode.
    Hang,
    /// Panics in the task that called the broker.
    Panic,
}

/// A stored batch.
#[derive(Clone)]
pub struct StoredBatch {
    pub routes: Vec<String>,
    pub batch: Batch,
    pub envelopes: Vec<Envelope>,
}

/// The broker in memory.
pub struct FakeBroker {
    mode: watch::Sender<Mode>,
    begun: watch::Sender<usize>,
    kept: watch::Sender<Vec<StoredBatch>>,
    ready: Mutex<Readiness>,
}

impl FakeBroker {
    pub fn new() -> Self {
        Self {
            mode: watch::channel(Mode::Take).0,
            begun: watch::channel(0).0,
            kept: watch::channel(Vec::new()).0,
            ready: Mutex::new(Readiness::Ready),
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn set_ready(&self, ready: Readiness) {
        *self.ready.lock().unwrap() = ready;
    }

    /// Returns how many publishes were started, whether they succeeded or not.
    pub fn begun(&self) -> usize {
        *self.begun.borrow()
    }

    pub fn kept(&self) -> Vec<StoredBatch> {
        self.kept.borrow().clone()
    }

    /// Returns every stored envelope, in order.
    pub fn envelopes(&self) -> Vec<Envelope> {
        self.kept()
            .into_iter()
            .flat_map(|kept| kept.envelopes)
            .collect()
    }

    pub async fn until_begun(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        let wait = begun.wait_for(|begun| *begun >= count);
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    }

    pub async fn until_kept(&self, batches: usize) {
        let mut kept = self.kept.subscribe();
        let wait = kept.wait_for(|kept| kept.len() >= batches);
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    }
}

#[async_trait]
impl Broker for FakeBroker {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        self.begun.send_modify(|begun| *begun += 1);
        let mut mode = self.mode.subscribe();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hang).await.unwrap();
        match mode {
            Mode::Take | Mode::Hang => {}
            Mode::Fail(kind) => return Err(PublishError::plain(kind)),
            Mode::Panic => panic!("the test has set the broker to panic"),
        }
        let frames = decode_batch(&batch.bytes).unwrap();
        let kept = StoredBatch {
            routes: routes.iter().map(ToString::to_string).collect(),
            batch: batch.clone(),
            envelopes: frames.into_iter().map(Result::unwrap).collect(),
        };
        self.kept.send_modify(|all| all.push(kept));
        Ok(())
    }

    async fn publish_report(&self, _: &Account) -> Result<(), PublishError> {
        Ok(())
    }

    async fn subscribe(&self, _: &Queue, _: u16) -> Result<Box<dyn Subscription>, Fault> {
        Err(Fault::plain(
            FaultKind::Internal,
            "subscribe: an ingest never subscribes",
        ))
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        Ok(Vec::new())
    }

    fn readiness(&self) -> Readiness {
        self.ready.lock().unwrap().clone()
    }

    async fn close(&self) {}
}

/// The time that the clock shows in every test.
pub const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_123_456);

/// A random generator that counts, so that no two receipts are equal.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Rng for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes.fill(0);
        for (to, from) in bytes.iter_mut().rev().zip(next.iter().rev()) {
            *to = *from;
        }
    }
}
