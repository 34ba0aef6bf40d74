//! `hookbox ingest`: receives webhooks. This role needs only the broker.

use crate::command::roles::{self, Roles};
use crate::exit::Exit;
use crate::telemetry::Log;
use hookbox_config::Config;

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
