//! Store and forward: RabbitMQ with a SQLite file in front.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, OpenError, PublishError, Queue, Readiness, Subscription, describe,
};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::{Account, RouteName};
use hookbox_ingest as ingest;
use tokio_util::sync::CancellationToken;

use super::{rabbit_options, sqlite_options, wait_for};
use crate::config::{BrokerUrl, Config, SpoolConfig};

/// How long after the death of a process what it was forwarding is forwarded again. One process
/// uses a spool, so nobody else is hurt by a lease that is short.
const SPOOL_LEASE: Duration = Duration::from_secs(2);

/// The broker of an ingest that keeps what the broker cannot take now: the broker may be away at
/// the start, and is opened when it is there.
pub async fn spooled(
    config: &Config,
    spool: &SpoolConfig,
    shutdown: CancellationToken,
) -> anyhow::Result<Spooled> {
    let rabbit = match &config.broker {
        BrokerUrl::Amqp(url) => rabbit_options(config, url),
        BrokerUrl::Sqlite(_) => return Err(anyhow!("a spool goes with RabbitMQ")),
    };
    let mut options = sqlite_options(config, &spool.path);
    options.bytes_max = Some(spool.bytes_max);
    options.lease = SPOOL_LEASE;
    let opened = async {
        hookbox_driver_sqlite::migrate(options.clone()).await?;
        Sqlite::open(options).await
    };
    let opened = opened.await;
    let opened = opened.with_context(|| format!("open the spool {}", spool.path.display()))?;
    let late = ingest::LateBroker::open(async move {
        let open = || Rabbit::open(rabbit.clone());
        match wait_for("the broker", &shutdown, open).await {
            Ok(rabbit) => Ok(rabbit.map(|rabbit| Arc::new(rabbit) as Arc<dyn Broker>)),
            Err(error) => {
                let why = describe(&error);
                tracing::error!(error = why, "the broker cannot be used: {why}");
                Err(why)
            }
        }
    });
    let broker: Arc<dyn Broker> = Arc::new(late);
    let spooling = ingest::Spooling::start(Arc::clone(&broker), Arc::new(opened));
    let spooling = spooling.await.context("read the spool")?;
    Ok(Spooled {
        counters: spooling.counters(),
        broker,
        spooling: Arc::new(spooling),
    })
}

/// A broker with a spool in front.
pub struct Spooled {
    /// The broker alone.
    pub broker: Arc<dyn Broker>,
    /// With the spool.
    pub spooling: Arc<dyn Broker>,
    /// What the spool counts.
    pub counters: Arc<ingest::SpoolCounters>,
}

/// A broker that counts what is in this machine's spool, where there is one, with what it has
/// itself.
pub async fn with_spool(
    config: &Config,
    broker: Arc<dyn Broker>,
) -> Result<Arc<dyn Broker>, OpenError> {
    match &config.ingest.spool {
        Some(spool) if spool.path.exists() => {
            let spool = Sqlite::open(sqlite_options(config, &spool.path)).await?;
            Ok(Arc::new(Counted { broker, spool }))
        }
        Some(_) | None => Ok(broker),
    }
}

struct Counted {
    broker: Arc<dyn Broker>,
    spool: Sqlite,
}

#[async_trait]
impl Broker for Counted {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        self.broker.publish(routes, batch).await
    }

    async fn tell(&self, account: &Account) -> Result<(), PublishError> {
        self.broker.tell(account).await
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        self.broker.subscribe(queue, prefetch).await
    }

    /// The spool first: what is forwarded meanwhile is counted twice, and not never.
    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        let kept = self.spool.depths().await?;
        let mut depths = self.broker.depths().await?;
        for depth in &mut depths {
            let Some(kept) = kept.iter().find(|kept| kept.queue == depth.queue) else {
                continue;
            };
            let more = |count: Option<u64>, kept: Option<u64>| Some(count? + kept.unwrap_or(0));
            depth.ready = more(depth.ready, kept.ready);
            depth.unsettled = more(depth.unsettled, kept.unsettled);
            depth.events = more(depth.events, kept.events);
        }
        Ok(depths)
    }

    fn readiness(&self) -> Readiness {
        self.broker.readiness()
    }

    async fn close(&self) {
        self.broker.close().await;
        Broker::close(&self.spool).await;
    }
}
