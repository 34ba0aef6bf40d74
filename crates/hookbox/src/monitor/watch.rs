//! Polls the dependencies, on a timer, so that neither a scrape nor a health check waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hookbox_console::command::reconcile::OVERDUE;
use hookbox_console::command::witness;
use hookbox_driver::{Accounts, Backlog, Depth, Fault, Mismatch, Store, describe};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Monitor, lock};
use crate::compose::AnyStore;

/// How often the store is pinged: a round trip. With [`DEADLINE`] it bounds how long it can be
/// unavailable unnoticed.
const PING_EVERY: Duration = Duration::from_secs(1);

/// How long the store, or the broker, may take to answer one poll before it counts as unavailable.
const DEADLINE: Duration = Duration::from_secs(2);

/// How often the depths of queues are read. A few channels of the broker each time.
const DEPTHS_EVERY: Duration = Duration::from_secs(5);

/// How often retries and dead letters are counted. Indexed, yet it reads a row for each of them.
const BACKLOG_EVERY: Duration = Duration::from_secs(15);

/// How often claims and receipts are searched for imbalances. It reads all of them.
const CONTRADICTIONS_EVERY: Duration = Duration::from_secs(600);

/// How long that may take. Minutes on tens of millions of rows, which is worth no more.
const CONTRADICTIONS_DEADLINE: Duration = Duration::from_secs(120);

/// How often the store is compared with the witnesses at its broker: a few messages are read.
const WITNESS_EVERY: Duration = Duration::from_secs(10);

/// How long that may take. A broker that seems to hold too little is read for two seconds.
const WITNESS_DEADLINE: Duration = Duration::from_secs(8);

/// Most gaps, receipts and imbalances that are counted: one is enough to act on.
const COUNTED_MAX: u32 = 100;

/// The results of the last polls. `None` before the first poll, or where it failed.
#[derive(Debug, Default, Clone)]
pub struct Observed {
    /// Whether the store answers, and why not.
    pub store: Option<Result<(), String>>,
    /// The depths of the broker's queues.
    pub depths: Option<Vec<Depth>>,
    /// Retries and dead letters in the store.
    pub backlog: Option<Vec<Backlog>>,
    /// What ingests have reported, and which of it has no outcome.
    pub accounts: Option<Accounts>,
    /// The size of SQLite's log, in bytes.
    pub sqlite_log: Option<u64>,
    /// How many claims and receipts contradict each other, or are gone.
    pub contradictions: Option<u64>,
    /// How the store and its broker contradict each other, if they do.
    pub witness: Option<Option<Mismatch>>,
}

/// Polls until it is dropped.
pub async fn watch(monitor: Arc<Monitor>) {
    tokio::join!(
        every(PING_EVERY, || ping(&monitor)),
        every(DEPTHS_EVERY, || depths(&monitor)),
        every(DEPTHS_EVERY, || sqlite_log(&monitor)),
        every(BACKLOG_EVERY, || backlog(&monitor)),
        every(BACKLOG_EVERY, || accounts(&monitor)),
        every(CONTRADICTIONS_EVERY, || contradictions(&monitor)),
        every(WITNESS_EVERY, || witness(&monitor)),
    );
}

async fn every<F: Future<Output = ()>>(period: Duration, poll: impl Fn() -> F) {
    let mut ticks = interval(period);
    // After a slow poll, the next one is a whole period later.
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
    let mut seen = lock(&monitor.seen);
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
    lock(&monitor.seen).depths = depths;
}

async fn sqlite_log(monitor: &Monitor) {
    let Some(AnyStore::Sqlite(store)) = monitor.parts().store else {
        return;
    };
    let bytes = store.log_bytes().ok();
    lock(&monitor.seen).sqlite_log = bytes;
}

async fn backlog(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let backlog = within(store.ledger().backlog()).await.ok();
    lock(&monitor.seen).backlog = backlog;
}

async fn accounts(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let accounts = within(store.ledger().accounts(COUNTED_MAX, OVERDUE))
        .await
        .ok();
    lock(&monitor.seen).accounts = accounts;
}

async fn contradictions(monitor: &Monitor) {
    let Some(store) = monitor.parts().store else {
        return;
    };
    let ledger = store.ledger();
    let found = async {
        // Before the outcomes: a receipt that is reported meanwhile must not look as if its rows
        // were gone.
        let accounts = ledger.accounts(0, OVERDUE).await?;
        let gone = accounts.gone(&ledger.books().await?);
        let contradicting = ledger.imbalances(COUNTED_MAX).await?;
        Ok::<u64, Fault>(gone + contradicting.len() as u64)
    };
    let count = timeout(CONTRADICTIONS_DEADLINE, found).await;
    lock(&monitor.seen).contradictions = count.ok().and_then(Result::ok);
}

async fn witness(monitor: &Monitor) {
    let parts = monitor.parts();
    let (true, Some(broker), Some(store)) = (parts.needs.witness, parts.broker, parts.store) else {
        return;
    };
    let ledger = store.ledger();
    let compared = witness::compare(&*broker, &*ledger);
    // A side that cannot be compared now keeps the last result: its unavailability is shown itself.
    if let Ok(Ok(mismatch)) = timeout(WITNESS_DEADLINE, compared).await {
        lock(&monitor.seen).witness = Some(mismatch);
    }
}

async fn within<T>(poll: impl Future<Output = Result<T, Fault>>) -> Result<T, String> {
    match timeout(DEADLINE, poll).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(fault)) => Err(describe(&fault)),
        Err(_elapsed) => Err(format!("no answer within {DEADLINE:?}")),
    }
}
