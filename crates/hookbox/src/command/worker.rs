//! `hookbox worker`: processes events. Several worker processes can run at once.

use anyhow::bail;
use hookbox_config::Config;

use crate::cli::WorkerArgs;
use crate::command::roles::{self, Roles};
use crate::exit::Exit;
use crate::telemetry::Log;

/// Processes events until a signal.
pub async fn run(config: Config, args: &WorkerArgs, log: &Log) -> anyhow::Result<Exit> {
    let known = config.route_names();
    if let Some(unknown) = args.route.iter().find(|name| !known.contains(name)) {
        let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
        bail!(
            "there is no route {unknown}; the config has {}",
            known.join(", ")
        );
    }
    roles::run(
        config,
        Roles {
            ingest: false,
            worker: Some(args.route.clone()),
        },
        log,
    )
    .await
}
