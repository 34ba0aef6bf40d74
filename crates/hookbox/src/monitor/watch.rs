//! Polls the dependencies on a timer, so that neither a scrape nor a health check waits for them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, Store, describe};
use hookbox_operations::command::reconcile::OVERDUE;
use hookbox_operations::command::witness;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::state::Monitor;
use crate::compose::AnyStore;

/// The interval at which the store is pinged. Each ping costs a round trip. If the store becomes
/// unavailable, that is noticed after at most this interval plus [`DEADLINE`].
const PING_EVERY: Duration = Duration::from_secs(1);

/// How long the store, or the broker, may take to answer one poll before it counts as unavailable.
const DEADLINE: Duration = Duration::from_secs(2);

/// The interval at which queue depths are read. Each reading opens a few channels to the broker.
const DEPTHS_EVERY: Duration = Duration::from_secs(5);

/// The interval at which retries and dead letters are counted, and other values that change slowly
/// are read. The count uses an index, but reads a row for each retry and each dead letter.
const BACKLOG_EVERY: Duration = Duration::from_secs(15);

/// The interval at which claims and receipts are searched for imbalances: rows that are missing or
/// contradict each other. The search reads all claims and receipts.
const CONTRADICTIONS_EVERY: Duration = Duration::from_secs(600);

/// The deadline of the search for imbalances. On tens of millions of rows the search would take
/// minutes, so it is cancelled: its result is not worth that load.
const CONTRADICTIONS_DEADLINE: Duration = Duration::from_secs(120);

/// The interval at which the store is compared with the witness messages at its broker, which show
/// that one of the two was restored. The comparison reads a few messages.
const WITNESS_EVERY: Duration = Duration::from_secs(10);

/// The deadline of the comparison with the witness messages. If the broker seems to hold too few
/// witness messages, the comparison reads them for two seconds before it reports that some are
/// missing.
const WITNESS_DEADLINE: Duration = Duration::from_secs(8);

/// How many sequence gaps, receipts and imbalances are counted at most, each for itself. An
/// operator must act even if there is only one, so an exact larger number would be of no use.
const COUNTED_MAX: u32 = 100;

/// Polls the dependencies until the future is dropped.
pub async fn watch(monitor: Arc<Monitor>) {
    tokio::join!(
        every(PING_EVERY, || ping(&monitor)),
        every(DEPTHS_EVERY, || depths(&monitor)),
        every(DEPTHS_EVERY, || sqlite_log(&monitor)),
        every(BACKLOG_EVERY, || backlog(&monitor)),
        every(BACKLOG_EVERY, || accounts(&monitor)),
        every(BACKLOG_EVERY, || ends_held_back(&monitor)),
        every(CONTRADICTIONS_EVERY, || contradictions(&monitor)),
        every(WITNESS_EVERY, || witness(&monitor)),
    );
}

async fn every<F: Future<Output = ()>>(period: Duration, poll: impl Fn() -> F) {
    let mut ticks = interval(period);
    // After a slow poll, the next poll starts a whole period later. Polls that were missed are
    // skipped.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        poll().await;
    }
}

async fn ping(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let began = Instant::now();
    let answered = within(async {
        match &store {
            AnyStore::Postgres(store) => store.ping().await,
            AnyStore::Sqlite(store) => store.probe().await,
        }
    });
    let found = answered.await;
    let mut seen = monitor.seen();
    let was_well = seen.store.as_ref().is_none_or(Result::is_ok);
    match &found {
        Err(why) if was_well => tracing::warn!(why, "the store does not answer: {why}"),
        Ok(()) if !was_well => {
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(took_ms, "the store answers again");
        }
        Ok(()) | Err(_) => {}
    }
    seen.store = Some(found);
}

async fn depths(monitor: &Monitor) {
    let Some(broker) = monitor.parts().broker else {
        return;
    };
    let depths = within(broker.depths()).await.ok();
    monitor.seen().depths = depths;
}

async fn sqlite_log(monitor: &Monitor) {
    let Some(AnyStore::Sqlite(store)) = monitor.parts().store else {
        return;
    };
    let bytes = store.log_bytes().ok();
    monitor.seen().sqlite_log = bytes;
}

async fn backlog(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let backlog = within(store.ledger().backlog()).await.ok();
    monitor.seen().backlog = backlog;
}

async fn accounts(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let accounts = within(store.ledger().accounts(COUNTED_MAX, OVERDUE))
        .await
        .ok();
    monitor.seen().accounts = accounts;
}

async fn ends_held_back(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let held = within(store.ledger().ends_held_back()).await.ok();
    let seconds = held.map(|held| held.map_or(0, |held| held.age.as_secs()));
    monitor.seen().ends_held_back_s = seconds;
}

async fn contradictions(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let ledger = store.ledger();
    let found = async {
        // Accept reports are read before the outcomes. In the other order, a receipt that is
        // reported between the two readings would have no outcome yet, and its rows would seem to
        // be gone.
        let accounts = ledger.accounts(0, OVERDUE).await?;
        let gone = accounts.gone(&ledger.books().await?);
        let contradicting = ledger.imbalances(COUNTED_MAX).await?;
        Ok::<u64, Fault>(gone + contradicting.len() as u64)
    };
    let count = timeout(CONTRADICTIONS_DEADLINE, found).await;
    monitor.seen().contradictions = count.ok().and_then(Result::ok);
}

async fn witness(monitor: &Monitor) {
    let parts = monitor.parts();
    let (true, Some(broker), Some(store)) = (parts.needs.witness, parts.broker, parts.store) else {
        return;
    };
    let ledger = store.ledger();
    let compared = witness::compare(&*broker, &*ledger);
    // If store or broker is unavailable, the last result is kept: their unavailability is shown
    // separately.
    if let Ok(Ok(mismatch)) = timeout(WITNESS_DEADLINE, compared).await {
        monitor.seen().witness = Some(mismatch);
    }
}

async fn within<T>(poll: impl Future<Output = Result<T, Fault>>) -> Result<T, String> {
    match timeout(DEADLINE, poll).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(fault)) => Err(describe(&fault)),
        Err(_elapsed) => Err(format!("no answer within {DEADLINE:?}")),
    }
}
