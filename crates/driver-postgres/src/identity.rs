//! The identity stamp: the fingerprint of the identity key under which the ids of the stored events
//! are computed. It is a value of the table `meta`.

use hookbox_driver::{IdentityStamp, OpenError};
use sqlx::{Error, PgConnection};

use crate::{Options, events, meta};

/// Compares the stamp of the database with the identity key of the config. The inner result is that
/// of the comparison; the outer one is an error when a query failed.
pub(crate) async fn compare(
    c: &mut PgConnection,
    options: &Options,
) -> Result<Result<IdentityStamp, OpenError>, Error> {
    let stamp = meta::identity(c).await?;
    let is_new = stamp.is_none() && options.identity.fingerprint().is_some();
    let has_events = is_new && events::are_any(c).await?;
    let found = options.identity.find(stamp.as_deref(), has_events);
    Ok(options.identity.compare("the database", found))
}

/// Stamps the database with the fingerprint of the config's identity key, if the config has one and
/// the database has neither a stamp nor events.
pub(crate) async fn stamp(c: &mut PgConnection, options: &Options) -> Result<(), Error> {
    match options.identity.fingerprint() {
        Some(fingerprint) => meta::stamp_identity(c, &fingerprint.to_string()).await,
        None => Ok(()),
    }
}
