//! `hookbox queues`: shows the depth of each queue, with the retries and dead letters of its route.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use hookbox_config::{BrokerUrl, Config, Needs};
use hookbox_driver::{
    Broker, IdentityMismatch, Ledger, NotReadyKind, OpenError, Readiness, describe,
};
use hookbox_driver_rabbitmq::{self as rabbitmq, Stamping};
use hookbox_operations::command::declare::{DeclareReport, MissingQueue, missing_queues};
use hookbox_operations::command::queues;
use hookbox_operations::{Operator as _, Problem, Reach, Source};

use super::person::{ByArgs, Person};
use super::print;
use crate::compose::{self, AnyStore};
use crate::exit::{self, Exit};

/// The broker and the store that the command reads. Each field holds either the connection or the
/// reason why the broker or the store is unavailable.
pub struct Sources {
    /// The broker, or why it is unavailable.
    pub broker: Reach<dyn Broker>,
    /// The store, or why it is unavailable.
    pub store: Reach<dyn Ledger>,
    opened: Option<AnyStore>,
}

impl Sources {
    /// Connects to the store and to the broker. If one of them is unavailable, the report contains
    /// the reason. If one of them cannot be used, because it has another environment or another
    /// schema, the command ends with an error. If the spool of this machine cannot be read, the
    /// report contains the reason and what is at the broker.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let (opened, store) = store(config).await?;
        let broker = match compose::broker_as_it_is(config, opened.as_ref()).await {
            // Messages in the spool of this machine's ingest are counted as messages in the
            // broker's queue. A spool that cannot be opened hides nothing of the broker.
            Ok(broker) => match compose::with_spool(config, &broker).await {
                Ok(broker) => Reach::Open(broker),
                Err(what) => {
                    let source = Source::Spool;
                    Reach::Partial(broker, Problem { source, what })
                }
            },
            Err(error) => Reach::Unavailable(reason_unavailable(error)?),
        };
        Ok(Self {
            broker,
            store,
            opened,
        })
    }

    /// Returns whether the broker was reached and lacks some of its queues.
    fn is_missing_queues(&self) -> bool {
        self.broker.opened().is_ok_and(|(broker, _)| {
            matches!(
                broker.readiness(),
                Readiness::NotReady {
                    kind: NotReadyKind::Topology,
                    ..
                }
            )
        })
    }

    /// Closes the connections to the broker and the store.
    pub async fn close(self) {
        if let Ok((broker, _)) = self.broker.opened() {
            broker.close().await;
        }
        if let Some(store) = self.opened {
            store.close().await;
        }
    }
}

/// Connects to the store, or returns why it is unavailable.
async fn store(config: &Config) -> Result<(Option<AnyStore>, Reach<dyn Ledger>), OpenError> {
    Ok(match compose::store(config).await {
        Ok(store) => {
            let ledger = store.ledger();
            (Some(store), Reach::Open(ledger))
        }
        Err(error) => (None, Reach::Unavailable(reason_unavailable(error)?)),
    })
}

fn reason_unavailable(error: OpenError) -> Result<String, OpenError> {
    match error {
        OpenError::Unavailable { .. } => Ok(describe(&error)),
        OpenError::Environment { .. }
        | OpenError::Identity { .. }
        | OpenError::SchemaOlder { .. }
        | OpenError::SchemaNewer { .. }
        | OpenError::Unsafe { .. }
        | OpenError::Refused { .. }
        | OpenError::Topology(_)
        | OpenError::Options { .. } => Err(error),
    }
}

/// Arguments of `queues`.
#[derive(Debug, Args)]
pub struct QueuesArgs {
    #[command(subcommand)]
    command: Option<QueuesCommand>,
}

impl QueuesArgs {
    /// Returns which secrets the command uses. Only `queues declare` uses the identity key, because
    /// it may write the identity stamp of the broker.
    pub fn needs(&self) -> Needs {
        match self.command {
            None => Needs::STORE_AND_BROKER,
            Some(QueuesCommand::Declare(_)) => Needs::PROCESSING,
        }
    }
}

/// The subcommand of `queues`; without it, `queues` shows the depths.
#[derive(Debug, Subcommand)]
pub enum QueuesCommand {
    /// Declare the queues that are missing, and report which events were lost; deletes nothing
    Declare(DeclareArgs),
}

/// Arguments of `queues declare`.
#[derive(Debug, Args)]
pub struct DeclareArgs {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Runs `queues` or its subcommand.
pub async fn run(config: &Config, args: &QueuesArgs, json: bool) -> anyhow::Result<Exit> {
    match &args.command {
        None => show(config, json).await,
        Some(QueuesCommand::Declare(args)) => declare(config, args, json).await,
    }
}

async fn declare(config: &Config, args: &DeclareArgs, json: bool) -> anyhow::Result<Exit> {
    let BrokerUrl::Amqp(url) = &config.broker else {
        anyhow::bail!("the broker is a SQLite file, whose queues cannot be missing");
    };
    let (opened, store) = store(config).await?;
    let mut options = compose::rabbit_options(config, url);
    // The stamp of an open store was checked when the store was opened. So the broker may get the
    // same stamp, even if it has messages.
    options.stamping = match opened {
        Some(_) => Stamping::All,
        None => Stamping::None,
    };
    let names = rabbitmq::missing(&options).await;
    if names.is_err()
        && let Some(store) = &opened
    {
        store.close().await;
    }
    let names = names.map_err(|error| for_the_store(error, &store))?;
    let names: Vec<_> = names.into_iter().map(|it| (it.queue, it.name)).collect();
    let (missing, mut problems) = missing_queues(names, &store).await;
    let agreed = missing.is_empty() || args.yes || asked(&missing)?;
    if agreed && !missing.is_empty() {
        problems.extend(audit(&store, &args.by.actor(), &missing).await);
    }
    if let Some(store) = opened {
        store.close().await;
    }
    if !agreed {
        return Ok(exit::FAILED);
    }
    // Declare even if no queue is missing, because the anchor queue may be missing. It is declared
    // last, and protects the queue that was declared before it (hazard H14). An earlier process may
    // have been killed before it declared the anchor queue.
    let rabbitmq::Declaration {
        declared,
        anchor_refused,
    } = rabbitmq::declare(&options).await?;
    warn_of_anchor(anchor_refused.as_deref());
    let report = DeclareReport {
        declared,
        missing,
        problems,
    };
    print::report(&report, json)?;
    Ok(exit::OK)
}

/// Converts the error that the broker has no identity stamp into an error about the store, if the
/// store cannot be reached. The broker gets a stamp only if the store can be checked, because the
/// store may have events whose ids were computed without the identity key.
fn for_the_store(error: OpenError, store: &Reach<dyn Ledger>) -> OpenError {
    let not_stamped = IdentityMismatch::NotStamped;
    match (error, store) {
        (OpenError::Identity { why, .. }, Reach::Unavailable(reason)) if why == not_stamped => {
            let source = format!("the broker can only be stamped after the store: {reason}");
            OpenError::Unavailable {
                what: "the store",
                source: source.into(),
            }
        }
        (error, Reach::Open(_) | Reach::Partial(..) | Reach::Unavailable(_)) => error,
    }
}

/// Prints a warning that the queue that was declared last may lose its messages if the broker is
/// killed (hazard H14).
pub fn warn_of_anchor(refused: Option<&str>) {
    if let Some(why) = refused {
        print::note(&format!(
            "warning: if the broker is killed within three minutes, the queue that was declared \
             last may lose its messages: the broker refused the temporary queue that protects it: \
             {why}"
        ));
    }
}

fn asked(missing: &[MissingQueue]) -> anyhow::Result<bool> {
    let lines = missing.iter().map(|queue| format!("  {}\n", queue.line()));
    let question = format!(
        "These queues are missing at the broker:\n{}They will be declared empty: the content of a \
         deleted queue is lost. Continue?",
        lines.collect::<String>()
    );
    Person::new()
        .ask(&question)
        .context("nothing was declared; give --yes to skip the question")
}

/// Writes a row to the audit before the queues are declared. Queues are declared even if the store
/// is unavailable, because a broker without its queues takes no events. (The exception is a broker
/// that needs an identity stamp and has none.)
async fn audit(store: &Reach<dyn Ledger>, by: &str, missing: &[MissingQueue]) -> Option<Problem> {
    let Ok((ledger, _)) = store.opened() else {
        return None;
    };
    let names: Vec<&str> = missing.iter().map(|queue| &*queue.name).collect();
    let written = ledger.audit(by, "queues.declare", &names.join(", ")).await;
    written
        .err()
        .map(|fault| Problem::of(Source::Store, &fault))
}

async fn show(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let sources = Sources::open(config).await?;
    let report = queues::queues(&sources.broker, &sources.store).await;
    let is_missing_some = sources.is_missing_queues();
    sources.close().await;
    print::report(&report, json)?;
    Ok(if is_missing_some {
        exit::REFUSED
    } else if report.problems.is_empty() {
        exit::OK
    } else {
        exit::UNAVAILABLE
    })
}
