//! `hookbox worker`: processes events. Several worker processes can run at once.

use anyhow::bail;
use hookbox_config::Config;
use hookbox_event::RouteName;

use crate::command::roles::{self, Roles, WorkerRole};
use crate::compose::Registry;
use crate::exit::Exit;
use crate::telemetry::Log;

/// Processes events of the given routes until a signal. An empty list means all routes.
pub async fn run(
    config: Config,
    routes: Vec<RouteName>,
    handlers: &Registry,
    log: &Log,
) -> anyhow::Result<Exit> {
    let known = config.route_names();
    if let Some(unknown) = routes.iter().find(|name| !known.contains(name)) {
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
            worker: Some(WorkerRole { routes, handlers }),
        },
        log,
    )
    .await
}
