//! Keeps the newest witness of the store at the broker, so that a store that is restored to an
//! older state, or a broker that is replaced, is noticed (docs/ACCOUNTING.md).
//!
//! It stops nothing: what is accepted now is as safe as ever, and its processing goes the same way.
//! What it never does is to publish while the two contradict each other: what the broker holds is
//! all that is left of what the store has lost, and newer witnesses would push it out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, Mismatch, NextWitness, Store, describe, newest_witness};
use hookbox_event::Witness;
use tokio_util::sync::CancellationToken;

use crate::inner::Inner;

/// How often. It bounds how much a restored store may lack without being noticed.
const EVERY: Duration = Duration::from_secs(2);

/// How long the last round may take, when the worker has drained.
const LAST_ROUND_MAX: Duration = Duration::from_secs(2);

/// Rounds in a row before a broker that holds too little, or a fault, is logged. Another reader
/// may have had the witnesses for a moment, and an outage is logged elsewhere.
const ROUNDS_TO_BELIEVE: u32 = 3;

/// Compares the store with its broker, and publishes what is new.
pub(crate) struct WitnessKeeper<S: Store> {
    pub inner: Arc<Inner<S>>,
    pub log: WitnessLog,
}

/// Readings of one round before it is believed that the broker holds none, or too little. Another
/// reader has what is missing for some milliseconds; and a store that was restored to before its
/// first witness does not miss any, and would publish one.
const READINGS: u32 = 4;

/// Between them.
const READING_PAUSE: Duration = Duration::from_millis(150);

/// What the log says of it, so that each state is logged once.
#[derive(Default)]
pub(crate) struct WitnessLog {
    logged: Option<&'static str>,
    in_a_row: u32,
}

impl<S: Store> WitnessKeeper<S> {
    /// Until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                found = round(&self.inner) => self.log.note(found),
            }
        }
    }
}

/// The last one of a worker that has drained: of the closing reports that it has recorded.
pub(crate) async fn last_round<S: Store>(inner: &Inner<S>) {
    tokio::select! {
        biased;
        () = inner.cut.cancelled() => {}
        // What it does not get to, another worker or the next start of this one does.
        _ = tokio::time::timeout(LAST_ROUND_MAX, round(inner)) => {}
    }
}

async fn round<S: Store>(inner: &Inner<S>) -> Result<Option<Mismatch>, Fault> {
    let routes = &inner.config.all_routes;
    let mut readings = 1;
    loop {
        // Before the store is read: whatever the broker holds then, the store has committed.
        let found = inner.broker.witnesses().await?;
        let is_last = readings >= READINGS;
        readings += 1;
        let highest = newest_witness(&found).map_or(0, |it| it.sequence);
        let known = inner.witness_known.fetch_max(highest, Ordering::Relaxed);
        let is_part = found.is_empty() || highest < known;
        if is_part && !is_last {
            tokio::time::sleep(READING_PAUSE).await;
            continue;
        }
        match inner.store.take_witness(&found, routes).await? {
            NextWitness::Unchanged => return Ok(None),
            NextWitness::Mismatch(Mismatch::BrokerBehind(_)) if !is_last => {
                tokio::time::sleep(READING_PAUSE).await;
            }
            NextWitness::Mismatch(mismatch) => return Ok(Some(mismatch)),
            NextWitness::Publish(witness) => {
                publish(inner, &witness).await?;
                inner
                    .witness_known
                    .fetch_max(witness.sequence, Ordering::Relaxed);
                return Ok(None);
            }
        }
    }
}

async fn publish<S: Store>(inner: &Inner<S>, witness: &Witness) -> Result<(), Fault> {
    let published = inner.broker.publish_witness(witness).await;
    published.map_err(|error| Fault::new(FaultKind::Unavailable, "publish a witness", error))?;
    inner.store.witness_confirmed(witness.sequence).await
}

impl WitnessLog {
    fn note(&mut self, found: Result<Option<Mismatch>, Fault>) {
        let (state, needed) = match &found {
            Ok(None) => {
                self.in_a_row = 0;
                if self.logged.take().is_some() {
                    tracing::info!(
                        "the store and its broker agree, and the newest witness is kept"
                    );
                }
                return;
            }
            Ok(Some(Mismatch::StoreBehind(_))) => ("store_behind", 1),
            Ok(Some(Mismatch::OtherStore(_))) => ("other_store", 1),
            Ok(Some(Mismatch::BrokerBehind(_))) => ("broker_behind", ROUNDS_TO_BELIEVE),
            Err(_) => ("fault", ROUNDS_TO_BELIEVE),
        };
        self.in_a_row += 1;
        if self.in_a_row < needed || self.logged.replace(state) == Some(state) {
            return;
        }
        match found {
            Ok(None) => {}
            Ok(Some(mismatch)) => {
                let what = mismatch.describe();
                tracing::error!(
                    what,
                    "{what}; events may be lost: `hookbox reconcile` names the time for which to \
                     ask the provider"
                );
            }
            Err(fault) => tracing::warn!(
                error = describe(&fault),
                "the witness of the store cannot be kept at the broker: until it can, a store that \
                 is restored to an older state may go unnoticed"
            ),
        }
    }
}
