//! `hookbox queues`: how much waits in each queue, with the store's side beside it.

use std::sync::Arc;

use hookbox_console::Reach;
use hookbox_console::command::queues;
use hookbox_driver::{Broker, Ledger, OpenError, describe};

use super::print;
use crate::compose::{self, AnyStore};
use crate::config::Config;
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
        let broker = match compose::broker(config, opened.as_ref()).await {
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
        | OpenError::Topology(_)
        | OpenError::Options { .. } => Err(error),
    }
}

/// Runs it.
pub async fn run(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let sources = Sources::open(config).await?;
    let report = queues::queues(&sources.broker, &sources.store).await;
    sources.close().await;
    print::report(&report, json)?;
    let well = report.problems.is_empty();
    Ok(if well { exit::OK } else { exit::UNAVAILABLE })
}
