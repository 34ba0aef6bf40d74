//! The identity stamp: the fingerprint of the identity key under which the ids of the events in the
//! file are computed. It is a value of the table `meta`.

use hookbox_driver::{IdentityStamp, OpenError};
use sqlx::sqlite::SqliteConnection;

use crate::refused::by_sqlite;
use crate::{Options, THE_FILE, events, meta};

/// Compares the stamp of the file with the identity key of the config. The file may be a store, a
/// broker or both.
pub(crate) async fn compare(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<IdentityStamp, OpenError> {
    let unusable = by_sqlite(&options.path);
    let stamp = meta::identity(connection).await.map_err(&unusable)?;
    let is_new = stamp.is_none() && options.identity.fingerprint().is_some();
    let has_events = is_new && events::are_any(connection).await.map_err(&unusable)?;
    let found = options.identity.find(stamp.as_deref(), has_events);
    options.identity.compare(THE_FILE, found)
}

/// Stamps the file with the fingerprint of the config's identity key, if the config has one and the
/// file has no stamp. The caller has compared the stamp in the same transaction.
pub(crate) async fn stamp(
    connection: &mut SqliteConnection,
    options: &Options,
) -> sqlx::Result<()> {
    match options.identity.fingerprint() {
        Some(fingerprint) => meta::stamp_identity(connection, &fingerprint.to_string()).await,
        None => Ok(()),
    }
}
