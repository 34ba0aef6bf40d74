//! `hookbox migrate`: brings the schema up to this version, then declares queues that are new.
//! Migrations only add to the schema. Dead letters that an older version wrote belong to no group
//! yet. They are assigned to groups after the migrations, in separate transactions, so that an
//! interrupted run can be resumed.

use std::path::Path;

use hookbox_config::{BrokerUrl, Config, StoreUrl};
use hookbox_driver::OpenError;
use hookbox_driver_rabbitmq::{self as rabbitmq, Stamping};
use hookbox_operations::Reach;
use hookbox_operations::command::dead;
use hookbox_operations::command::declare::missing_queues;
use hookbox_operations::render::terminal;
use secrecy::SecretString;

use crate::command::print;
use crate::command::queues::warn_of_anchor;
use crate::compose;
use crate::exit::{self, Exit};

/// Migrates the store, and the broker's SQLite file if the broker has a file of its own; with
/// RabbitMQ, declares the queues. Each completed step is printed, even if the next step fails.
pub async fn run(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let mut report = Vec::new();
    let stamping = stamping(config).await;
    same_identity(config, stamping).await?;
    match &config.store {
        StoreUrl::Postgres(_) => {
            let plan =
                hookbox_driver_postgres::plan(hookbox_config::options::postgres(config)).await?;
            say(json, "the database", plan.from, plan.to);
            let done =
                hookbox_driver_postgres::migrate(hookbox_config::options::postgres(config)).await?;
            report.push(("store", done.from, done.to));
        }
        StoreUrl::Sqlite(path) => report.push(file(config, "store", path, json).await?),
        StoreUrl::NotResolved => return Err(compose::not_resolved("the store").into()),
    }
    let declared = match &config.broker {
        BrokerUrl::Sqlite(path) if !config.is_one_file() => {
            report.push(file(config, "broker", path, json).await?);
            Ok(Vec::new())
        }
        BrokerUrl::Sqlite(_) => Ok(Vec::new()),
        BrokerUrl::Amqp(url) => declare(config, &rabbit_options(config, url, stamping)).await,
        BrokerUrl::NotResolved => return Err(compose::not_resolved("the broker").into()),
    };
    let is_new = report.first().is_some_and(|(_, from, _)| *from == 0);
    let grouped = if is_new {
        Ok(0)
    } else {
        group_dead_letters(config, json).await
    };
    let done = MigrationReport {
        migrated: report,
        declared: declared.as_deref().unwrap_or_default(),
        grouped: *grouped.as_ref().unwrap_or(&0),
    };
    done.print(json)?;
    declared?;
    grouped?;
    Ok(exit::OK)
}

/// Returns which brokers may get an identity stamp. This depends on whether the store has a stamp
/// before its migration. A store that cannot be opened counts as a store without a stamp; why it
/// cannot be opened is reported later, when the store is migrated.
async fn stamping(config: &Config) -> Stamping {
    if !config.identity.is_keyed() {
        return Stamping::WithoutMessages;
    }
    match compose::store(config).await {
        Ok(store) => {
            store.close().await;
            Stamping::All
        }
        Err(_) => Stamping::WithoutMessages,
    }
}

fn rabbit_options(config: &Config, url: &SecretString, stamping: Stamping) -> rabbitmq::Options {
    let mut options = compose::rabbit_options(config, url);
    options.stamping = stamping;
    options
}

/// Refuses a broker that has the stamp of another identity key. This is done before the store is
/// stamped, so that store and broker never have different stamps. If the config has an identity
/// key, a broker whose stamp cannot be read is refused as well. Without an identity key, any other
/// problem of the broker is reported only after the store was migrated.
async fn same_identity(config: &Config, stamping: Stamping) -> Result<(), OpenError> {
    let is_keyed = config.identity.is_keyed();
    match &config.broker {
        BrokerUrl::Amqp(url) => {
            match rabbitmq::missing(&rabbit_options(config, url, stamping)).await {
                Err(error) if is_keyed || matches!(error, OpenError::Identity { .. }) => Err(error),
                Ok(_) | Err(_) => Ok(()),
            }
        }
        BrokerUrl::Sqlite(path) if is_keyed && !config.is_one_file() => {
            hookbox_driver_sqlite::plan(compose::sqlite_options(config, path)).await?;
            Ok(())
        }
        BrokerUrl::Sqlite(_) | BrokerUrl::NotResolved => Ok(()),
    }
}

/// Assigns the dead letters that an older version wrote to groups. Returns how many were assigned.
async fn group_dead_letters(config: &Config, json: bool) -> anyhow::Result<u64> {
    let store = compose::store(config).await?;
    let grouped = dead::regroup(&*store.ledger(), |grouped| {
        if !json {
            print::note(&format!("grouped {grouped} older dead letters so far"));
        }
    })
    .await;
    store.close().await;
    Ok(grouped?)
}

/// Declares the queues that are missing, unless one of them was used before. A missing queue that
/// was used before has been deleted together with its messages, and a deployment must not hide that
/// loss.
async fn declare(config: &Config, options: &rabbitmq::Options) -> anyhow::Result<Vec<String>> {
    let missing = rabbitmq::missing(options).await?;
    if !missing.is_empty() {
        let store = compose::store(config).await?;
        let names = missing.into_iter().map(|it| (it.queue, it.name)).collect();
        let (missing, problems) = missing_queues(names, &Reach::Open(store.ledger())).await;
        store.close().await;
        if let Some(problem) = problems.first() {
            anyhow::bail!(
                "cannot read from the store whether the missing queues were used before: {}",
                problem.what
            );
        }
        let deleted: Vec<String> = { missing }
            .iter()
            .filter(|queue| queue.was_used == Some(true))
            .map(|queue| format!("queue {}", queue.line()))
            .collect();
        if !deleted.is_empty() {
            return Err(deleted_queues(&deleted).into());
        }
    }
    let done = rabbitmq::declare(options).await?;
    warn_of_anchor(done.anchor_refused.as_deref());
    Ok(done.declared)
}

fn deleted_queues(lines: &[String]) -> OpenError {
    OpenError::Refused {
        what: "the broker",
        why: format!(
            "queues that were used before no longer exist: {}",
            lines.join("; ")
        ),
        remedy: "run `hookbox queues declare` to declare these queues again, empty, and `hookbox \
                 reconcile` to list the receipts that are known to be lost"
            .to_owned(),
        source: None,
    }
}

/// What the migration has done, for printing.
struct MigrationReport<'a> {
    /// The name of each migrated part, and its schema version before and after the migration.
    migrated: Vec<(&'static str, i64, i64)>,
    declared: &'a [String],
    grouped: u64,
}

impl MigrationReport<'_> {
    fn print(&self, json: bool) -> std::io::Result<()> {
        if json {
            let migrated = self.migrated.iter();
            let lines: Vec<_> = migrated
                .map(|(what, from, to)| serde_json::json!({ "what": what, "from": from, "to": to }))
                .collect();
            let report = serde_json::json!({
                "migrated": lines, "declared": self.declared, "grouped": self.grouped,
            });
            return print::text(&terminal::json(&format!("{report}\n")));
        }
        for (what, from, to) in &self.migrated {
            let line = if from == to {
                format!("{what}: already at version {to}\n")
            } else {
                format!("{what}: migrated from version {from} to {to}\n")
            };
            print::text(&line)?;
        }
        if self.grouped > 0 {
            let grouped = self.grouped;
            print::text(&format!(
                "store: grouped {grouped} older dead letters by cause\n"
            ))?;
        }
        for queue in self.declared {
            print::text(&format!("broker: declared queue {queue}\n"))?;
        }
        Ok(())
    }
}

async fn file(
    config: &Config,
    what: &'static str,
    path: &Path,
    json: bool,
) -> anyhow::Result<(&'static str, i64, i64)> {
    if !json {
        print::note(&format!("bringing {} up to date", path.display()));
    }
    let done = hookbox_driver_sqlite::migrate(compose::sqlite_options(config, path)).await?;
    Ok((what, done.from, done.to))
}

fn say(json: bool, what: &str, from: i64, to: i64) {
    if !json && from != to {
        print::note(&format!("bringing {what} from version {from} to {to}"));
    }
}
