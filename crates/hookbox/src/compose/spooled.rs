//! Store and forward: puts a spool, a SQLite file, in front of RabbitMQ.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use hookbox_config::{BrokerUrl, Config, SpoolConfig};
use hookbox_driver::{
    Batch, Broker, Depth, Fault, IdentityMismatch, OpenError, PublishError, Queue, Readiness,
    Subscription, describe,
};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_driver_sqlite::{Options, Sqlite, ends_by_itself};
use hookbox_event::{Account, RouteName, Witness};
use tokio_util::sync::CancellationToken;

use super::spool_lock::{SpoolLock, WHAT};
use super::{WAIT_LONGEST, rabbit_options, sqlite_options, wait_for};
use crate::exit::Unusable;

/// The lease of a message in the spool: how long after the death of a process its messages in
/// flight are redelivered. A short lease is safe, because only one process uses a spool, so no
/// other process can take a message when its lease ends.
const SPOOL_LEASE: Duration = Duration::from_secs(2);

/// Opens the broker of an ingest with a spool. The broker may be unavailable at the start, and is
/// opened once it is reachable. Only a spool that gets its first identity stamp waits for the
/// broker. Returns `None` if shutdown starts before the spool could be opened.
pub async fn spooled(
    config: &Config,
    spool: &SpoolConfig,
    shutdown: CancellationToken,
) -> anyhow::Result<Option<Spooled>> {
    let rabbit = match &config.broker {
        BrokerUrl::Amqp(url) => rabbit_options(config, url),
        BrokerUrl::Sqlite(_) | BrokerUrl::NotResolved => {
            return Err(anyhow!("a spool needs RabbitMQ as the broker behind it"));
        }
    };
    let mut options = sqlite_options(config, &spool.path);
    options.bytes_max = Some(spool.bytes_max);
    options.lease = SPOOL_LEASE;
    // The spool's lock guarantees that only this process uses the file.
    options.exclusive = true;
    // There is no limit to the deliveries of a message from the spool. At the limit, the message
    // would become a dead letter in the spool, which no worker reads.
    options.deliveries_max = None;
    let first = config.identity.is_keyed().then(|| rabbit.clone());
    let opened = wait_for("the spool", &shutdown, || open(&options, first.as_ref())).await;
    let opened =
        opened.with_context(|| format!("cannot open the spool {}", spool.path.display()))?;
    let Some((lock, opened)) = opened else {
        return Ok(None);
    };
    refuse_unknown_routes(config, spool, &opened).await?;
    let file: Arc<dyn Broker> = Arc::new(opened);
    let late = hookbox_spool::LateBroker::open(|reason| open_late(rabbit, shutdown, reason));
    let broker: Arc<dyn Broker> = Arc::new(late);
    let spooling = hookbox_spool::Spooling::start(Arc::clone(&broker), Arc::clone(&file));
    let spooling = spooling
        .await
        .context("cannot read the events in the spool")?;
    Ok(Some(Spooled {
        counters: spooling.counters(),
        broker,
        spooling: Arc::new(spooling),
        file,
        _lock: lock,
    }))
}

/// Connects to the broker when it becomes available. Also tries again when the broker was refused
/// because of foreign policies on the queues or because of a missing right. An operator can correct
/// both while this process runs.
async fn open_late(
    rabbit: hookbox_driver_rabbitmq::Options,
    shutdown: CancellationToken,
    reason: hookbox_spool::Reason,
) -> Result<Option<Arc<dyn Broker>>, OpenError> {
    let open = || Rabbit::open(rabbit.clone());
    let mut logged = String::new();
    loop {
        let error = match wait_for("the broker", &shutdown, open).await {
            Ok(rabbit) => return Ok(rabbit.map(|rabbit| Arc::new(rabbit) as Arc<dyn Broker>)),
            Err(error) => error,
        };
        let why = describe(&error);
        if why != logged {
            tracing::error!(error = why, "the broker cannot be used: {why}");
        }
        if !matches!(error, OpenError::Topology(_) | OpenError::Refused { .. }) {
            return Err(error);
        }
        reason.is(&error);
        logged = why;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(WAIT_LONGEST) => {}
        }
    }
}

/// If `first` names a broker, waits until this broker has been opened once. Opening verifies the
/// identity stamp of the broker. Otherwise a spool could be stamped for an identity key that the
/// broker refuses, and the events in the spool could never be forwarded.
async fn verify_broker(first: Option<&hookbox_driver_rabbitmq::Options>) -> Result<(), OpenError> {
    let Some(rabbit) = first else {
        return Ok(());
    };
    // This token is never cancelled: at a shutdown, the caller drops this whole future instead.
    let never = CancellationToken::new();
    let opened = wait_for("the broker", &never, || Rabbit::open(rabbit.clone())).await?;
    if let Some(opened) = opened {
        opened.close().await;
    }
    Ok(())
}

/// Opens the spool. If necessary, first creates the file or migrates its schema. Both write the
/// identity stamp, so [`verify_broker`] runs before them. Nothing is written to a file that has the
/// current schema and the stamp, because a spool on a full disk must still be opened to forward its
/// events.
async fn open(
    options: &Options,
    first: Option<&hookbox_driver_rabbitmq::Options>,
) -> Result<(SpoolLock, Sqlite), OpenError> {
    let opened = async {
        let mut lock = SpoolLock::take(&options.path)?;
        // A broken symbolic link counts as an existing file here, so no spool is created, and
        // opening it below fails.
        if std::fs::symlink_metadata(&options.path).is_err_and(|error| is_absent(&error)) {
            lock.allows_creation()?;
            verify_broker(first).await?;
            hookbox_driver_sqlite::migrate(options.clone()).await?;
        }
        let spool = match Sqlite::open(options.clone()).await {
            Err(OpenError::SchemaOlder { found, .. }) => {
                if found == 0 {
                    lock.allows_creation()?;
                }
                verify_broker(first).await?;
                hookbox_driver_sqlite::migrate(options.clone()).await?;
                Sqlite::open(options.clone()).await?
            }
            // A spool of an earlier version has no identity stamp. It gets one if it is empty.
            Err(OpenError::Identity {
                why: IdentityMismatch::NotStamped,
                ..
            }) => {
                verify_broker(first).await?;
                hookbox_driver_sqlite::migrate(options.clone()).await?;
                Sqlite::open(options.clone()).await?
            }
            opened => opened?,
        };
        lock.was_created();
        Ok((lock, spool))
    };
    opened.await.map_err(|error: OpenError| match error {
        // If the file cannot be opened, the process must end. If it waited and tried again, a wrong
        // path would stay unnoticed.
        OpenError::Unavailable { .. } if !ends_by_itself(&error) => OpenError::Refused {
            what: WHAT,
            why: format!("{}: {}", options.path.display(), describe(&error)),
            remedy: "check the file and its disk, or configure another file".to_owned(),
            source: None,
        },
        error => error,
    })
}

fn is_absent(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

/// Refuses a spool that contains events for a removed route, because they would never be forwarded.
async fn refuse_unknown_routes(
    config: &Config,
    spool: &SpoolConfig,
    opened: &Sqlite,
) -> anyhow::Result<()> {
    let unknown = opened
        .unknown_queues()
        .await
        .context("cannot read the events in the spool")?;
    if unknown.is_empty() {
        return Ok(());
    }
    let prefix = format!("hookbox.{}.route.", config.environment);
    let of_route = |(queue, events): (&String, &u64)| {
        let route = queue.strip_prefix(&prefix).unwrap_or(queue);
        format!("{events} events of the route {route}")
    };
    let events: Vec<String> = unknown.iter().map(of_route).collect();
    Err(anyhow!(Unusable(format!(
        "{}: the spool {} holds {}, but the config has no such route: restore the route until its \
         events are forwarded (hookbox_spool_events), then remove it",
        config.path.display(),
        spool.path.display(),
        events.join(" and ")
    ))))
}

/// A broker with a spool in front of it.
pub struct Spooled {
    /// RabbitMQ itself, without the spool.
    pub broker: Arc<dyn Broker>,
    /// A broker that stores events in the spool while RabbitMQ cannot accept them.
    pub spooling: Arc<dyn Broker>,
    /// The counters of the spool.
    pub counters: Arc<hookbox_spool::SpoolCounters>,
    /// The spool's own SQLite file as a broker, without RabbitMQ.
    pub file: Arc<dyn Broker>,
    /// The lock that keeps other processes from using the spool.
    _lock: SpoolLock,
}

/// Returns a broker whose queue depths include this machine's spool, if there is one. The error is
/// a text that names the spool and says why its events cannot be counted.
pub async fn with_spool(
    config: &Config,
    broker: &Arc<dyn Broker>,
) -> Result<Arc<dyn Broker>, String> {
    let Some(SpoolConfig { path, .. }) = &config.ingest.spool else {
        return Ok(Arc::clone(broker));
    };
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(Arc::clone(broker)),
        Err(error) => return Err(not_counted(path, &describe(&error))),
    }
    match Sqlite::open(sqlite_options(config, path)).await {
        Ok(spool) => Ok(Arc::new(SpoolCountingBroker {
            broker: Arc::clone(broker),
            spool,
        })),
        Err(error) => Err(not_counted(path, &why_not_opened(&error))),
    }
}

fn not_counted(path: &Path, why: &str) -> String {
    // A relative path would not show in which folder the spool is.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!(
        "the events in the spool {} are not counted: {why}",
        path.display()
    )
}

/// Returns why the spool cannot be opened to count its events. The remedy in the text of some
/// errors is `hookbox migrate`, which migrates no spool: an ingest does that at its start.
fn why_not_opened(error: &OpenError) -> String {
    match error {
        OpenError::SchemaOlder { found, wanted } => format!(
            "it has schema version {found}, and this hookbox needs {wanted}; its ingest migrates \
             it when it is restarted with this version"
        ),
        OpenError::SchemaNewer { found, wanted } => format!(
            "it has schema version {found}, and this hookbox knows only {wanted}; use the version \
             of its ingest"
        ),
        OpenError::Unsafe { .. } => {
            "it cannot be used safely; its ingest says why when it is restarted".to_owned()
        }
        OpenError::Identity {
            why: IdentityMismatch::NotStamped,
            ..
        } => "it has no fingerprint of the identity key yet; its ingest writes it at its next \
              start"
            .to_owned(),
        OpenError::Identity { .. }
        | OpenError::Environment { .. }
        | OpenError::Topology(_)
        | OpenError::Refused { .. }
        | OpenError::Unavailable { .. }
        | OpenError::Options { .. } => describe(error),
    }
}

struct SpoolCountingBroker {
    broker: Arc<dyn Broker>,
    spool: Sqlite,
}

#[async_trait]
impl Broker for SpoolCountingBroker {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        self.broker.publish(routes, batch).await
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        self.broker.publish_report(account).await
    }

    async fn publish_witness(&self, witness: &Witness) -> Result<(), PublishError> {
        self.broker.publish_witness(witness).await
    }

    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        self.broker.witnesses().await
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        self.broker.subscribe(queue, prefetch).await
    }

    /// Reads the depths of the spool before those of the broker. A message that is forwarded
    /// between the two readings is therefore counted twice. In the reverse order, it would not be
    /// counted at all.
    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        let kept = self.spool.depths().await?;
        let mut depths = self.broker.depths().await?;
        for depth in &mut depths {
            let Some(kept) = kept.iter().find(|kept| kept.queue == depth.queue) else {
                continue;
            };
            let more = |count: Option<u64>, kept: Option<u64>| Some(count? + kept.unwrap_or(0));
            // All messages in the spool count as ready, even those that are being forwarded or that
            // the broker refuses. They are not added to the number of messages in flight, because
            // RabbitMQ does not report that number.
            let waits = Some(kept.ready.unwrap_or(0) + kept.unsettled.unwrap_or(0));
            depth.ready = more(depth.ready, waits);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `hookbox migrate` migrates no spool. So the text about an old spool must not name that
    /// command, which would be repeated in vain.
    #[test]
    fn an_old_spool_is_migrated_by_its_ingest() {
        let identity = OpenError::Identity {
            what: "the SQLite file",
            why: IdentityMismatch::NotStamped,
        };
        let older = OpenError::SchemaOlder {
            found: 5,
            wanted: 20,
        };
        for error in [identity, older] {
            let said = why_not_opened(&error);
            assert!(said.contains("its ingest"), "{said}");
            assert!(!said.contains("hookbox migrate"), "{said}");
        }
    }
}
