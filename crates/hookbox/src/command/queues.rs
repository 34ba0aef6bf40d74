//! `hookbox queues`: how much waits in each queue, with the store's side beside it.

use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use hookbox_console::command::queues;
use hookbox_console::{Operator as _, Reach};
use hookbox_driver::{Broker, Ledger, OpenError, describe};

use super::person::Person;
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
    /// Opens what is there. Something that is away is told in the report; something that refuses
    /// us (another environment, another schema) ends the command.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let (opened, store) = match compose::store(config).await {
            Ok(store) => {
                let ledger = store.ledger();
                (Some(store), Reach::Open(ledger))
            }
            Err(error) => (None, Reach::Away(away(error)?)),
        };
        let broker = match compose::broker_as_it_is(config, opened.as_ref()).await {
            // What is in a spool of this machine is in flight as well.
            Ok(broker) => match compose::with_spool(config, broker).await {
                Ok(broker) => Reach::Open(broker),
                Err(error) => Reach::Away(away(error)?),
            },
            Err(error) => Reach::Away(away(error)?),
        };
        Ok(Self {
            broker,
            store,
            opened,
        })
    }

    /// Ends all connections.
    pub async fn close(self) {
        if let Reach::Open(broker) = &self.broker {
            Arc::clone(broker).close().await;
        }
        if let Some(store) = self.opened {
            store.close().await;
        }
    }
}

fn away(error: OpenError) -> Result<String, OpenError> {
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

/// What to do with them, when they are not only looked at.
#[derive(Debug, Subcommand)]
pub enum QueuesCommand {
    /// Declare the queues that are missing, as a start of a role does; deletes nothing
    Declare(DeclareArgs),
}

/// Arguments of `queues declare`.
#[derive(Debug, Args)]
pub struct DeclareArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs it.
pub async fn run(config: &Config, args: &QueuesArgs, json: bool) -> anyhow::Result<Exit> {
    match &args.command {
        None => look(config, json).await,
        Some(QueuesCommand::Declare(args)) => declare(config, args, json).await,
    }
}

async fn declare(config: &Config, args: &DeclareArgs, json: bool) -> anyhow::Result<Exit> {
    let BrokerUrl::Amqp(url) = &config.broker else {
        anyhow::bail!("the broker is a SQLite file, whose queues cannot be missing");
    };
    let options = compose::rabbit_options(config, url);
    let missing = hookbox_driver_rabbitmq::missing(&options).await?;
    if !missing.is_empty() {
        let question = format!(
            "This will declare {}; what was in a queue that was deleted does not come back. Go on?",
            missing.join(", ")
        );
        if !args.yes && !Person::new().ask(&question).context("say --yes")? {
            return Ok(exit::FAILED);
        }
        let broker = hookbox_driver_rabbitmq::Rabbit::open(options).await?;
        broker.close().await;
    }
    if json {
        print::text(&format!("{}\n", serde_json::json!({ "declared": missing })))?;
    } else if missing.is_empty() {
        print::text("no queue is missing\n")?;
    } else {
        print::text(&format!("declared {}\n", missing.join(", ")))?;
    }
    Ok(exit::OK)
}

async fn look(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let sources = Sources::open(config).await?;
    let report = queues::queues(&sources.broker, &sources.store).await;
    sources.close().await;
    print::report(&report, json)?;
    let well = report.problems.is_empty();
    Ok(if well { exit::OK } else { exit::UNAVAILABLE })
}
