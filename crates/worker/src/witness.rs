//! Keeps the newest witness message of the store at the broker. The witness states how far the
//! store has come, so that a store that is restored to an older state, or a broker that is
//! replaced, is noticed (docs/ACCOUNTING.md).
//!
//! A contradiction between store and broker does not stop the worker, because newly accepted
//! events are not at risk and are processed as usual. But no witness is published while they
//! contradict each other: the witnesses at the broker are the only remaining record of what the
//! store has lost, and newer ones would push them out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, Mismatch, NextWitness, Store, describe, newest_witness};
use hookbox_event::Witness;
use tokio_util::sync::CancellationToken;

use crate::inner::Inner;

/// How often the store is compared with the newest witness message at the broker, and a new one is
/// published. What the store committed after its last witness can be lost in a restore unnoticed,
/// so this interval limits how much that is.
const EVERY: Duration = Duration::from_secs(2);

/// How long the last comparison of store and broker may take after the worker has drained.
const LAST_ROUND_MAX: Duration = Duration::from_secs(2);

/// How many comparisons in a row must find the same problem before it is logged. This applies to
/// two problems. The broker may lack witness messages only for a moment, while another reader has
/// taken them. A fault may be a part of an outage, which is logged elsewhere.
const ROUNDS_TO_BELIEVE: u32 = 3;

/// The task that compares the store with its broker and publishes new witnesses.
pub(crate) struct WitnessKeeper<S: Store> {
    pub inner: Arc<Inner<S>>,
    pub log: WitnessLog,
}

/// How many times a comparison reads the witness messages before it accepts that the broker holds
/// none, or only too old ones. A single reading may miss all of them, because another reader may
/// have taken them for some milliseconds. The mistake would hide a loss: a store that was restored
/// to a state before its first witness would publish a new witness, as if nothing had been lost.
const READINGS: u32 = 4;

/// The pause between two readings of the witness messages (see [`READINGS`]).
const READING_PAUSE: Duration = Duration::from_millis(150);

/// The state that was logged last, so that each state is logged only once.
#[derive(Default)]
pub(crate) struct WitnessLog {
    logged: Option<&'static str>,
    in_a_row: u32,
}

impl<S: Store> WitnessKeeper<S> {
    /// Compares and publishes every [`EVERY`] until the shutdown.
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

/// Compares store and broker a last time after the worker has drained, so that the witness message
/// includes the closing accept reports that the worker has stored.
pub(crate) async fn last_round<S: Store>(inner: &Inner<S>) {
    tokio::select! {
        biased;
        () = inner.cut.cancelled() => {}
        // If this comparison does not finish in time, another worker or the next start of this one
        // publishes the newest witness.
        _ = tokio::time::timeout(LAST_ROUND_MAX, round(inner)) => {}
    }
}

async fn round<S: Store>(inner: &Inner<S>) -> Result<Option<Mismatch>, Fault> {
    let routes = &inner.config.all_routes;
    let mut readings = 1;
    loop {
        // The broker is read before the store. A witness is published only after the store has
        // committed what the witness states, so the later reading of the store must include all of
        // it.
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
                        "the store and its broker agree again; the broker has the newest witness"
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
                "the witness of the store cannot be kept at the broker: until it can, a \
                 restore of the store to an older state may go unnoticed"
            ),
        }
    }
}
