//! `hookbox run`: all roles in one process.

use crate::command::roles::{self, Roles};
use crate::config::Config;
use crate::exit::Exit;

/// Runs ingest and worker until a signal.
pub async fn run(config: Config) -> anyhow::Result<Exit> {
    roles::run(
        config,
        Roles {
            ingest: true,
            worker: Some(Vec::new()),
        },
    )
    .await
}
