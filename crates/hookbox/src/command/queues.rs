//! `hookbox queues`: the depth of each queue, beside what the store has for its route.

use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use hookbox_console::command::declare::{DeclareReport, MissingQueue, missing_queues};
use hookbox_console::command::queues;
use hookbox_console::{Operator as _, Problem, Reach, Source};
use hookbox_driver::{Broker, Ledger, NotReadyKind, OpenError, Readiness, describe};
use hookbox_driver_rabbitmq as rabbitmq;

use super::person::{ByArgs, Person};
use super::print;
use crate::compose::{self, AnyStore};
use crate::config::{BrokerUrl, Config};
use crate::exit::{self, Exit};

/// Both sources of truth, as far as they can be opened.
pub struct Sources {
    /// The broker.
    pub broker: Reach<dyn Broker>,
    /// The store.
    pub store: Reach<dyn Ledger>,
    opened: Option<AnyStore>,
}

impl Sources {
    /// Opens the store and the broker. One that is unavailable is named in the report; one that
    /// does not belong here (another environment, another schema) ends the command with an error.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let (opened, store) = store(config).await?;
        let broker = match compose::broker_as_it_is(config, opened.as_ref()).await {
            // What is in a spool of this machine counts as in a queue as well.
            Ok(broker) => match compose::with_spool(config, broker).await {
                Ok(broker) => Reach::Open(broker),
                Err(error) => Reach::Unavailable(reason_unavailable(error)?),
            },
            Err(error) => Reach::Unavailable(reason_unavailable(error)?),
        };
        Ok(Self {
            broker,
            store,
            opened,
        })
    }

    /// Whether the broker was reached and does not have all its queues.
    fn is_missing_queues(&self) -> bool {
        match &self.broker {
            Reach::Open(broker) => matches!(
                broker.readiness(),
                Readiness::NotReady {
                    kind: NotReadyKind::Topology,
                    ..
                }
            ),
            Reach::Unavailable(_) => false,
        }
    }

    /// Closes all connections.
    pub async fn close(self) {
        if let Reach::Open(broker) = &self.broker {
            Arc::clone(broker).close().await;
        }
        if let Some(store) = self.opened {
            store.close().await;
        }
    }
}

/// The store, as far as it can be opened.
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

/// The subcommand, where there is one.
#[derive(Debug, Subcommand)]
pub enum QueuesCommand {
    /// Declare the queues that are missing, and report what is known to be lost; deletes nothing
    Declare(DeclareArgs),
}

/// Arguments of `queues declare`.
#[derive(Debug, Args)]
pub struct DeclareArgs {
    /// Skip the question
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Runs it.
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
    let options = compose::rabbit_options(config, url);
    let names = rabbitmq::missing(&options).await?;
    let names: Vec<_> = names.into_iter().map(|it| (it.queue, it.name)).collect();
    let (opened, store) = store(config).await?;
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
    // Also where none is missing: the process that declared them may have died before it was done
    // (H14).
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

/// Warns on standard error that the queue declared last is not protected (H14).
pub fn warn_of_anchor(refused: Option<&str>) {
    if let Some(why) = refused {
        print::note(&format!(
            "warning: if the broker is killed within three minutes, the queue that was declared \
             last may lose its messages: the temporary queue that protects it was refused: {why}"
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
    Person::new().ask(&question).context("give --yes")
}

/// Writes a row to the audit, before the change. A store that is unavailable is no reason to leave
/// a broker without its queues.
async fn audit(store: &Reach<dyn Ledger>, by: &str, missing: &[MissingQueue]) -> Option<Problem> {
    let Reach::Open(ledger) = store else {
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
