//! Finds out what kind of server the database is on.

use hookbox_driver::OpenError;

use crate::Options;
use crate::refused::{open_error, unavailable};
use crate::server::properties::Server;
use crate::server::refusal::Stage;
use crate::server::time_limit::{goodbye, within};

/// Reads the version and the settings of the server, on a connection without hookbox's settings,
/// because an older server refuses settings that it does not know.
pub(crate) async fn inspect_server(options: &Options) -> Result<Server, OpenError> {
    let plain = options.plain()?;
    let limit = options.connect_deadline;
    plain.is_its_own(limit).await?;
    let mut connection = plain.connect(limit).await.map_err(unavailable)?;
    let server = within(limit, Server::read(&mut connection)).await;
    goodbye(connection).await;
    server.map_err(|error| open_error(error, Stage::Use, plain.names()))
}
