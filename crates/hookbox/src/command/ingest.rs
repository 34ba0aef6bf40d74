//! `hookbox ingest`: receives webhooks. It needs the broker only.

use crate::command::roles::{self, Roles};
use crate::config::Config;
use crate::exit::Exit;
use crate::telemetry::Log;

/// Receives webhooks until a signal.
pub async fn run(config: Config, log: &Log) -> anyhow::Result<Exit> {
    roles::run(
        config,
        Roles {
            ingest: true,
            worker: None,
        },
        log,
    )
    .await
}
