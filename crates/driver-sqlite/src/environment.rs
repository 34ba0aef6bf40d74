//! Checks to which environment the file belongs.

use hookbox_driver::OpenError;
use sqlx::sqlite::SqliteConnection;

use crate::refused::by_sqlite;
use crate::{Options, THE_FILE, meta};

/// Returns an error when the file is stamped with another environment than the one in the options,
/// or with none.
pub(crate) async fn check_environment(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<(), OpenError> {
    let stamp = meta::environment(connection).await;
    let stamp = stamp.map_err(by_sqlite(&options.path))?;
    match stamp {
        Some(found) if found == options.environment.as_str() => Ok(()),
        found => Err(OpenError::Environment {
            what: THE_FILE,
            found: found.unwrap_or_default(),
            wanted: options.environment.to_string(),
        }),
    }
}
