//! `hookbox ingest`: receives webhooks. It needs the broker only.

use crate::command::roles::{self, Roles};
use crate::config::Config;
use crate::exit::Exit;

/// Receives webhooks until a signal.
pub async fn run(config: Config) -> anyhow::Result<Exit> {
    roles::run(
        config,
        Roles {
            ingest: true,
            worker: None,
        },
    )
    .await
}
