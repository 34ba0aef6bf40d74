//! `hookbox run`: all roles in one process.

use crate::command::roles::{self, Roles, WorkerRole};
use crate::compose::{self, Registry};
use crate::exit::Exit;
use crate::telemetry::Log;
use hookbox_config::Config;

/// Runs ingest and worker until a signal; with `create`, first creates SQLite files that do not
/// exist.
pub async fn run(
    config: Config,
    create: bool,
    handlers: &Registry,
    log: &Log,
) -> anyhow::Result<Exit> {
    if create {
        compose::create_files(&config).await?;
    }
    roles::run(
        config,
        Roles {
            ingest: true,
            worker: Some(WorkerRole::of_all_routes(handlers)),
        },
        log,
    )
    .await
}
