//! `hookbox ingest`: receives webhooks. This role needs only the broker.

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
