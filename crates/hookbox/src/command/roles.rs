//! Starts and drains roles, for the commands `dev`, `run`, `ingest` and `worker`.

mod made_worker;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use hookbox_config::Config;
use hookbox_driver::{Broker, Store, describe};
use hookbox_event::RouteName;
use hookbox_ingest::{Ingest, Listener, serve};
use hookbox_worker::{SourceSchemas, Worker};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::compose::{self, AnyStore, OfRoutes, Registry, RouteHandlers, Spooled};
use crate::drain::Drain;
use crate::exit::{self, Exit};
use crate::monitor::{Monitored, Needs};
use crate::reload::{Reloader, Targets};
use crate::signals::{self, Signals};
use crate::telemetry::Log;
use crate::tls::{self, Certificate};

use made_worker::MadeWorker;

/// The broker and the store, opened for the roles of this process.
pub struct OpenDependencies {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The broker with a spool in front of it, if the ingest of this process has a spool.
    pub spooled: Option<Spooled>,
    /// The store, if a role of this process needs one.
    pub store: Option<AnyStore>,
    /// The JSON Schemas against which the worker of this process checks bodies; empty without a
    /// worker.
    pub schemas: SourceSchemas,
    /// The handlers of the worker of this process; `None` without a worker.
    pub handlers: Option<RouteHandlers>,
    /// The token that is cancelled by the first signal that stops the process.
    pub shutdown: CancellationToken,
    /// The state that the monitoring endpoints show.
    pub monitored: Monitored,
    /// The log of this process.
    pub log: Log,
}

/// A listener, and its certificate if it uses TLS.
pub struct BoundListener {
    /// The listener.
    pub listener: Listener,
    /// The certificate, if the listener uses TLS.
    pub certificate: Option<Arc<Certificate>>,
}

/// The roles to run.
pub struct Roles<'h> {
    /// Whether to receive webhooks.
    pub ingest: bool,
    /// What the worker processes; without a worker, `None`.
    pub worker: Option<WorkerRole<'h>>,
}

/// What a worker processes.
pub struct WorkerRole<'h> {
    /// The routes that the worker processes; if empty, all routes.
    pub routes: Vec<RouteName>,
    /// The handlers of this program.
    pub handlers: &'h Registry,
}

impl<'h> WorkerRole<'h> {
    /// Returns the role of a worker that processes all routes.
    pub fn of_all_routes(handlers: &'h Registry) -> Self {
        let routes = Vec::new();
        Self { routes, handlers }
    }
}

/// Waits for the broker and the store, connects to them, and runs the roles until a signal.
pub async fn run(config: Config, roles: Roles<'_>, log: &Log) -> anyhow::Result<Exit> {
    let tasks = TaskTracker::new();
    let Signals { shutdown, hangup } = signals::service(&tasks, log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Report a port that is taken, or a certificate that cannot be used, before waiting for any
    // dependency. The port is released again until ingest runs. Until then no process would answer
    // a sender, so its connection must be refused.
    if roles.ingest {
        drop(listen(&config).await?);
    }
    let Some(opened) = open(&config, &roles, shutdown, log).await? else {
        return Ok(exit::OK);
    };
    let listener = if roles.ingest {
        Some(listen(&config).await?)
    } else {
        None
    };
    serve_roles(config, opened, listener, Some(hangup)).await
}

/// Runs roles once their broker and store are open.
pub async fn serve_roles(
    config: Config,
    opened: OpenDependencies,
    listening: Option<BoundListener>,
    hangup: Option<Signal>,
) -> anyhow::Result<Exit> {
    let drain = Drain::of(&config);
    let taking = match &opened.spooled {
        Some(spooled) => Arc::clone(&spooled.spooling),
        None => Arc::clone(&opened.broker),
    };
    // All roles are made before any of them is used or shown as ready. So if a role cannot be made,
    // the process ends before a sender has used it.
    let worker = match &opened.handlers {
        Some(handlers) => match make_worker(&config, handlers, &opened, drain).await? {
            Some(worker) => Some(worker),
            None => return Ok(exit::OK),
        },
        None => None,
    };
    let ingest = match &listening {
        Some(bound) => Some(start_ingest(&config, &bound.listener, &taking, &opened)?),
        None => None,
    };
    let OpenDependencies {
        broker,
        store,
        shutdown,
        mut monitored,
        log,
        ..
    } = opened;
    let mut targets = Targets::new(log);
    let mut running = JoinSet::new();
    if let Some(worker) = worker {
        monitored.show(|parts| parts.worker = Some(worker.counters));
        targets.schemas = Some(worker.schemas);
        running.spawn(worker.work);
    }
    if let Some((bound, ingest)) = listening.zip(ingest) {
        monitored.show(|parts| parts.ingest = Some(ingest.counters()));
        targets.ingest = Some(Arc::clone(&ingest));
        targets.certificate = bound.certificate;
        let times = drain.times();
        running.spawn(serve(bound.listener, ingest, shutdown.clone(), times));
    }
    // Once the monitor has the broker, it may report the process as ready. So it gets the broker
    // last.
    monitored.show(|parts| parts.broker = Some(broker));
    monitored.watch();
    // Dropping this `JoinSet` aborts its task, so the reloader ends when this function returns.
    let mut reloading = JoinSet::new();
    reloading.spawn(Reloader::new(config, targets).run(hangup));
    let end = supervise(&mut running, &shutdown, &monitored, drain).await;
    if end == exit::FAILED {
        return Ok(end);
    }
    let close = async {
        taking.close().await;
        if let Some(store) = &store {
            store.close().await;
        }
    };
    let _ = tokio::time::timeout(drain.closing(), close).await;
    Ok(end)
}

fn start_ingest(
    config: &Config,
    listener: &Listener,
    broker: &Arc<dyn Broker>,
    opened: &OpenDependencies,
) -> anyhow::Result<Arc<Ingest>> {
    let address = listener.tcp.local_addr()?;
    let ingest = Ingest::start(
        compose::ingest_config(config)?,
        Arc::clone(broker),
        opened.store.as_ref().map(AnyStore::ledger),
        compose::clock(),
        compose::rng(),
    );
    tracing::info!(address = %address, "ingest listens on {address}");
    Ok(ingest)
}

/// Waits for a signal or the end of a role, then until all roles have drained.
async fn supervise(
    running: &mut JoinSet<()>,
    shutdown: &CancellationToken,
    monitored: &Monitored,
    drain: Drain,
) -> Exit {
    let mut panicked = false;
    let ended = tokio::select! {
        () = shutdown.cancelled() => false,
        end = running.join_next() => {
            panicked = end.is_some_and(|end| end.is_err());
            !shutdown.is_cancelled()
        }
    };
    if ended {
        // A process in which one role has ended would still seem healthy to its service manager,
        // and would not be restarted. So the whole process stops.
        tracing::error!("a role ended without a signal; the process stops so that it is restarted");
        shutdown.cancel();
    }
    monitored.show(|parts| parts.draining = true);
    let all = async {
        while let Some(end) = running.join_next().await {
            panicked |= end.is_err();
        }
    };
    let drained = tokio::time::timeout(drain.roles(), all).await;
    if drained.is_err() {
        tracing::error!("the roles did not drain in time: messages in flight will be redelivered");
        return exit::FAILED;
    }
    if ended || panicked {
        exit::INTERNAL
    } else {
        exit::OK
    }
}

/// Reads the JSON Schemas, makes the handlers, and connects to the broker, and to the store if a
/// role needs it; `None` if a signal came first. A schema that cannot be used, and a handler that
/// cannot be made, are reported before waiting for any dependency.
pub async fn open(
    config: &Config,
    roles: &Roles<'_>,
    shutdown: CancellationToken,
    log: &Log,
) -> anyhow::Result<Option<OpenDependencies>> {
    let needs = Needs {
        store: roles.worker.is_some(),
        witness: roles.worker.is_some() && !config.is_one_file(),
    };
    let (schemas, handlers) = match &roles.worker {
        Some(WorkerRole { routes, handlers }) => {
            let schemas = SourceSchemas::new(compose::schemas(config)?);
            (schemas, Some(handlers.make(config, routes)?))
        }
        None => (SourceSchemas::default(), None),
    };
    let monitored = Monitored::start(config, needs).await?;
    monitored.show(|parts| parts.log = log.clone());
    let store = if needs.store {
        let open = || compose::store(config);
        let Some(store) = compose::wait_for("the store", &shutdown, open).await? else {
            return Ok(None);
        };
        monitored.show(|parts| parts.store = Some(store.clone()));
        Some(store)
    } else {
        None
    };
    let spooled = match &config.ingest.spool {
        Some(spool) if roles.ingest => {
            let Some(spooled) = compose::spooled(config, spool, shutdown.clone()).await? else {
                return Ok(None);
            };
            Some(spooled)
        }
        Some(_) | None => None,
    };
    let broker = if let Some(spooled) = &spooled {
        monitored.show(|parts| {
            parts.spool = Some(Arc::clone(&spooled.counters));
            parts.spool_file = Some(Arc::clone(&spooled.file));
        });
        Arc::clone(&spooled.broker)
    } else {
        let open = async || {
            let opened = compose::broker(config, store.as_ref()).await;
            let why = opened.as_ref().err().map(|error| describe(error));
            monitored.show(|parts| parts.broker_away = why);
            opened
        };
        let Some(broker) = compose::wait_for("the broker", &shutdown, open).await? else {
            return Ok(None);
        };
        broker
    };
    Ok(Some(OpenDependencies {
        broker,
        spooled,
        store,
        schemas,
        handlers,
        shutdown,
        monitored,
        log: log.clone(),
    }))
}

/// How many connections may wait to be accepted (the kernel limits this number to
/// `net.core.somaxconn`). While so many wait, a further client cannot connect, and its kernel tries
/// again after a second.
const BACKLOG: u32 = 4096;

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of the previous process may be in TIME_WAIT, and must not delay a restart.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds the listener of the config's ingest.
pub async fn listen(config: &Config) -> anyhow::Result<BoundListener> {
    let address = config.ingest.listen;
    let tcp = bind(address).with_context(|| {
        format!(
            "cannot listen on {address}; stop what listens there, or choose another address \
             ([ingest] listen, or --listen of `hookbox dev`)"
        )
    })?;
    let (tls, certificate) = tls::acceptor(config)?.unzip();
    Ok(BoundListener {
        listener: Listener { tcp, tls },
        certificate,
    })
}

/// Makes the worker of this process; `None` if a signal came first.
async fn make_worker(
    config: &Config,
    handlers: &RouteHandlers,
    opened: &OpenDependencies,
    drain: Drain,
) -> anyhow::Result<Option<MadeWorker>> {
    let store = opened
        .store
        .as_ref()
        .context("the worker needs a store, and none was opened")?;
    match (store, handlers) {
        (AnyStore::Postgres(store), RouteHandlers::Postgres(handlers)) => {
            make_worker_on(store, config, handlers, opened, drain).await
        }
        (AnyStore::Sqlite(store), RouteHandlers::Sqlite(handlers)) => {
            make_worker_on(store, config, handlers, opened, drain).await
        }
        (AnyStore::Postgres(_), RouteHandlers::Sqlite(_))
        | (AnyStore::Sqlite(_), RouteHandlers::Postgres(_)) => {
            anyhow::bail!("the handlers were made for another database than that of the store")
        }
    }
}

async fn make_worker_on<S: Store>(
    store: &Arc<S>,
    config: &Config,
    handlers: &OfRoutes<S>,
    opened: &OpenDependencies,
    drain: Drain,
) -> anyhow::Result<Option<MadeWorker>> {
    let worker = Worker::new(
        Arc::clone(&opened.broker),
        Arc::clone(store),
        compose::clock(),
        compose::rng(),
        compose::worker_config(config, handlers, opened.schemas.clone())?,
    );
    Ok(MadeWorker::of(worker, &opened.shutdown, drain).await?)
}

#[cfg(test)]
mod tests;
