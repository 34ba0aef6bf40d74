//! `hookbox migrate`: brings the schema up to this version. Migrations only add.

use std::path::Path;

use crate::command::print;
use crate::compose;
use crate::config::{BrokerUrl, Config, StoreUrl};
use crate::exit::{self, Exit};

/// Migrates the store, and the broker's file where that is another SQLite file.
pub async fn run(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let mut report = Vec::new();
    match &config.store {
        StoreUrl::Postgres(_) => {
            let plan = hookbox_driver_postgres::plan(compose::postgres_options(config)).await?;
            say(json, "the database", plan.from, plan.to);
            let done = hookbox_driver_postgres::migrate(compose::postgres_options(config)).await?;
            report.push(("store", done.from, done.to));
        }
        StoreUrl::Sqlite(path) => report.push(file(config, "store", path, json).await?),
    }
    match &config.broker {
        BrokerUrl::Sqlite(path) if !config.is_one_file() => {
            report.push(file(config, "broker", path, json).await?);
        }
        BrokerUrl::Sqlite(_) | BrokerUrl::Amqp(_) => {}
    }
    if json {
        let lines: Vec<_> = report
            .iter()
            .map(|(what, from, to)| serde_json::json!({ "what": what, "from": from, "to": to }))
            .collect();
        let report = serde_json::json!({ "migrated": lines });
        print::text(&format!("{report}\n"))?;
    } else {
        for (what, from, to) in report {
            let line = if from == to {
                format!("{what}: already at version {to}\n")
            } else {
                format!("{what}: migrated from version {from} to {to}\n")
            };
            print::text(&line)?;
        }
    }
    Ok(exit::OK)
}

async fn file(
    config: &Config,
    what: &'static str,
    path: &Path,
    json: bool,
) -> anyhow::Result<(&'static str, i64, i64)> {
    if !json {
        eprintln!("bringing {} up to date", path.display());
    }
    let done = hookbox_driver_sqlite::migrate(compose::sqlite_options(config, path)).await?;
    Ok((what, done.from, done.to))
}

fn say(json: bool, what: &str, from: i64, to: i64) {
    if !json && from != to {
        eprintln!("bringing {what} from version {from} to {to}");
    }
}
