//! Builds the parts of a deployment from its config. This file chooses the drivers. Other code
//! names a driver only in commands that declare queues or create files.

mod effects;
mod handlers;
mod make_context;
mod not_resolved;
mod routing;
mod schemas;
mod spool_lock;
mod spooled;
mod target_rates;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookbox_config::{BrokerUrl, Config, StoreUrl, options};
use hookbox_driver::{
    Broker, Clock, Ledger, OpenError, Rng, Store, SystemClock, SystemRng, describe,
};
use hookbox_driver_postgres::Postgres;
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::Digester;
use hookbox_ingest as ingest;
use hookbox_signature::ConflictAction;
use hookbox_worker as worker;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::drain::Drain;

pub use handlers::{HandlerStore, OfRoutes, Registry, RouteHandlers};
pub use make_context::BoxError;
pub use not_resolved::not_resolved;
pub use routing::routing;
pub use schemas::{schemas, source_schemas};
pub use spooled::{Spooled, spooled, with_spool};

/// The first delay before a dependency that is unavailable at the start is tried again.
const WAIT_FIRST: Duration = Duration::from_millis(250);

/// The longest delay between two attempts to open a dependency.
const WAIT_LONGEST: Duration = Duration::from_secs(5);

/// The store that the config names, opened.
#[derive(Clone)]
pub enum AnyStore {
    /// PostgreSQL.
    Postgres(Arc<Postgres>),
    /// A SQLite file.
    Sqlite(Arc<Sqlite>),
}

impl AnyStore {
    /// Returns the ledger of the store: the interface with which operators' commands read and
    /// change the rows.
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            AnyStore::Postgres(store) => Arc::clone(store) as _,
            AnyStore::Sqlite(store) => Arc::clone(store) as _,
        }
    }

    /// Closes the connections to the store.
    pub async fn close(&self) {
        match self {
            AnyStore::Postgres(store) => Store::close(&**store).await,
            AnyStore::Sqlite(store) => Store::close(&**store).await,
        }
    }
}

/// Opens the store that the config names.
pub async fn store(config: &Config) -> Result<AnyStore, OpenError> {
    match &config.store {
        StoreUrl::Postgres(_) => {
            let options = options::postgres(config);
            Ok(AnyStore::Postgres(Arc::new(Postgres::open(options).await?)))
        }
        StoreUrl::Sqlite(path) => Ok(AnyStore::Sqlite(sqlite(config, path).await?)),
        StoreUrl::NotResolved => Err(not_resolved("the store")),
    }
}

/// Connects to the broker only to read from it. Unlike `broker`, this function succeeds even if the
/// broker's management API does not answer.
pub async fn broker_as_it_is(
    config: &Config,
    store: Option<&AnyStore>,
) -> Result<Arc<dyn Broker>, OpenError> {
    match &config.broker {
        BrokerUrl::Amqp(url) => {
            let mut options = rabbit_options(config, url);
            options.reads_only = true;
            Ok(Arc::new(Rabbit::open(options).await?))
        }
        BrokerUrl::Sqlite(_) | BrokerUrl::NotResolved => broker(config, store).await,
    }
}

/// Connects to the broker. If store and broker are one SQLite file, that file is not opened again:
/// the opened store is returned as the broker.
pub async fn broker(
    config: &Config,
    store: Option<&AnyStore>,
) -> Result<Arc<dyn Broker>, OpenError> {
    match (&config.broker, store) {
        (BrokerUrl::Amqp(url), _) => Ok(Arc::new(Rabbit::open(rabbit_options(config, url)).await?)),
        (BrokerUrl::Sqlite(_), Some(AnyStore::Sqlite(sqlite))) if config.is_one_file() => {
            Ok(Arc::clone(sqlite) as _)
        }
        (BrokerUrl::Sqlite(path), _) => Ok(sqlite(config, path).await?),
        (BrokerUrl::NotResolved, _) => Err(not_resolved("the broker")),
    }
}

/// Returns the options for connecting to the RabbitMQ that the config names.
pub fn rabbit_options(config: &Config, url: &SecretString) -> hookbox_driver_rabbitmq::Options {
    let mut options = options::rabbit(config, url);
    // Closing the connection to an unresponsive broker must not take longer than the time that a
    // drain has for closing connections.
    options.close_deadline = options.close_deadline.min(Drain::of(config).closing());
    options
}

/// Returns the options for opening a SQLite file.
pub fn sqlite_options(config: &Config, path: &Path) -> hookbox_driver_sqlite::Options {
    let (environment, routes) = (config.environment.clone(), config.route_names());
    let mut options = hookbox_driver_sqlite::Options::new(path, environment, routes);
    options.identity = config.identity.expected();
    options
}

/// Creates the SQLite files of the store and the broker that do not exist, or that are empty, as
/// after an interrupted creation. Files with any content are left unchanged.
pub async fn create_files(config: &Config) -> Result<(), OpenError> {
    for (_, path) in sqlite_files(config) {
        let options = sqlite_options(config, path);
        // If the path or the file cannot be checked, opening the file will report why.
        let is_absent = matches!(path.try_exists(), Ok(false));
        if is_absent || matches!(hookbox_driver_sqlite::is_empty(&options).await, Ok(true)) {
            hookbox_driver_sqlite::migrate(options).await?;
            tracing::info!(path = %path.display(), "created {}", path.display());
        }
    }
    Ok(())
}

/// Returns the SQLite files of the store and the broker, each once, with the config key that names
/// the file.
pub fn sqlite_files(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut files = Vec::new();
    if let StoreUrl::Sqlite(path) = &config.store {
        files.push(("store.url", path.as_path()));
    }
    match &config.broker {
        BrokerUrl::Sqlite(path) if !config.is_one_file() => files.push(("broker.url", path)),
        BrokerUrl::Sqlite(_) | BrokerUrl::Amqp(_) | BrokerUrl::NotResolved => {}
    }
    files
}

async fn sqlite(config: &Config, path: &Path) -> Result<Arc<Sqlite>, OpenError> {
    Ok(Arc::new(Sqlite::open(sqlite_options(config, path)).await?))
}

/// Connects to a dependency, and tries again while it is unavailable. Returns any other error at
/// once, and `None` if shutdown starts first. Logs when waiting starts and when the reason changes.
pub async fn wait_for<T, F>(
    what: &'static str,
    shutdown: &CancellationToken,
    open: impl Fn() -> F,
) -> Result<Option<T>, OpenError>
where
    F: Future<Output = Result<T, OpenError>>,
{
    let mut wait = WAIT_FIRST;
    let mut logged = String::new();
    loop {
        // At a shutdown, the future that opens the connection is dropped. A connection that is only
        // half open at that moment is closed when the process ends.
        let opened = tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            opened = open() => opened,
        };
        let why = match opened {
            Ok(opened) => return Ok(Some(opened)),
            Err(error @ OpenError::Unavailable { .. }) => describe(&error),
            Err(error) => return Err(error),
        };
        if why != logged {
            tracing::warn!(what, error = why, "waiting for {what}: {why}");
            logged = why;
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(wait.mul_f64(0.5 + 0.5 * SystemRng.unit())) => {}
        }
        wait = (wait * 2).min(WAIT_LONGEST);
    }
}

/// Returns the digester of the config, which computes event ids and content digests.
pub fn digester(config: &Config) -> Result<Digester, OpenError> {
    let digester = config.identity.digester();
    digester.ok_or_else(|| not_resolved("the identity key"))
}

/// Returns the config of ingest. The keys are copied and not moved, because the command `send`,
/// which signs with the keys of the config, may run in the same process.
pub fn ingest_config(config: &Config) -> anyhow::Result<ingest::Config> {
    let source = |source: &hookbox_config::SourceConfig| ingest::Source {
        name: source.name.clone(),
        scheme: source.scheme.clone(),
        keys: std::sync::RwLock::new(source.keys.clone().into()),
        form: source.form.clone(),
        answer: source.answer.clone(),
        topic: source.topic.clone(),
        identity: source.identity.clone(),
    };
    let routing = routing(config)?;
    let mut limits = ingest::Limits::standard();
    limits.body_max = config.ingest.body_max;
    limits.body_bytes_in_flight_max = config.ingest.bodies_max;
    limits.idle_deadline = config.ingest.idle;
    limits.connections_max = config.ingest.connections_max;
    limits.connections_per_address_max = config.ingest.connections_per_address_max;
    limits.waiting_max = config.ingest.waiting_max;
    Ok(ingest::Config {
        sources: config.sources.iter().map(source).collect(),
        routing,
        digester: digester(config)?,
        peers: config.ingest.peers.clone(),
        limits,
    })
}

/// Returns the config of the worker, for the routes that have one of these handlers or effects.
pub fn worker_config<S: Store>(
    config: &Config,
    handlers: &OfRoutes<S>,
    schemas: worker::SourceSchemas,
) -> Result<worker::Config<S>, OpenError> {
    let routes = config.routes.iter().filter_map(|route| {
        Some(worker::Route {
            name: route.name.clone(),
            shared_topics: routing::shared_topics(config, route),
            newest: route.newest.clone(),
            work: handlers.get(&route.name)?.clone(),
            retry: route.retry,
            time_limit: route.handler_time_limit,
            concurrency: route.concurrency,
            prefetch: route.prefetch,
        })
    });
    let conflicts = config.sources.iter().flat_map(|source| &source.on_conflict);
    let conflicts = conflicts.map(|rule| worker::ConflictRule {
        topics: rule.topics.clone(),
        action: match rule.action {
            ConflictAction::DeadLetter => worker::OnConflict::DeadLetter,
            ConflictAction::Process => worker::OnConflict::Process,
            ConflictAction::Duplicate => worker::OnConflict::Duplicate,
        },
    });
    Ok(worker::Config {
        routes: routes.collect(),
        all_routes: config.route_names(),
        schemas,
        conflicts: conflicts.collect(),
        digester: digester(config)?,
        schedule_interval: worker::defaults::SCHEDULE_INTERVAL,
        collect: true,
        witness: !config.is_one_file(),
    })
}

/// Returns the operating system's clock, in the form that ingest and worker take.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// Returns the operating system's random numbers, in the form that ingest and worker take.
pub fn rng() -> Arc<dyn Rng> {
    Arc::new(SystemRng)
}
