//! The table `newest`, for routes with `newest`: for each key of a route, the newest version that
//! is done, and the external call that is in flight for an event with this key.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hookbox_driver::{KeyState, VersionedEvent};
use hookbox_event::{EventNumber, KeyDigest, RouteName, Version};
use sqlx::{Error, PgConnection, Row};

use crate::column::Columns;
use crate::retries::DELAY_MAX;

/// Locks keys in ascending order, so that two transactions with the same keys cannot deadlock. A
/// key without a row gets a row without a version, because only rows can be locked.
///
/// `on conflict` locks an existing row even though `where false` keeps the row from being updated.
pub(crate) async fn lock(
    c: &mut PgConnection,
    route: &RouteName,
    keys: &[KeyDigest],
) -> Result<(), Error> {
    sqlx::query(
        "insert into newest (route, key)
         select $1, came.key from unnest($2::bytea[]) as came (key)
         order by came.key
         on conflict (route, key) do update set version = newest.version where false",
    )
    .bind(route.as_str())
    .bind(digests(keys))
    .execute(c)
    .await?;
    Ok(())
}

/// Locks the keys of these events as [`lock`] does. A key without a row gets a row with the version
/// of its event, as if the event were done already. Returns the keys that got a row. Before the
/// commit, [`take_back`] must undo this for the events that are not done.
pub(crate) async fn lock_and_anticipate(
    c: &mut PgConnection,
    route: &RouteName,
    newest: &[(EventNumber, &VersionedEvent)],
) -> Result<Vec<KeyDigest>, Error> {
    let (keys, versions, events) = columns(newest);
    let rows = sqlx::query(
        "insert into newest (route, key, version, event, done_at)
         select $1, came.key, came.version, came.event, now()
         from unnest($2::bytea[], $3::text[], $4::bigint[]) as came (key, version, event)
         order by came.key
         on conflict (route, key) do update set version = newest.version where false
         returning key",
    )
    .bind(route.as_str())
    .bind(keys)
    .bind(versions)
    .bind(events)
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| row.key("key")).collect()
}

/// Removes the versions that [`lock_and_anticipate`] has written in this transaction for events
/// that are not done.
pub(crate) async fn take_back(
    c: &mut PgConnection,
    anticipated: &BTreeMap<(RouteName, KeyDigest), EventNumber>,
) -> Result<(), Error> {
    let routes: Vec<&str> = anticipated.keys().map(|(of, _)| of.as_str()).collect();
    let keys: Vec<&[u8; 16]> = anticipated.keys().map(|(_, key)| key.as_bytes()).collect();
    let events: Vec<i64> = anticipated.values().map(|event| event.as_i64()).collect();
    sqlx::query(
        "update newest set version = null, event = null, done_at = null
         from unnest($1::text[], $2::bytea[], $3::bigint[]) as gone (route, key, event)
         where newest.route = gone.route and newest.key = gone.key and newest.event = gone.event",
    )
    .bind(routes)
    .bind(keys)
    .bind(events)
    .execute(c)
    .await?;
    Ok(())
}

/// Returns the stored states of these keys. A call counts as in flight if its lease had not ended
/// when this transaction began, so no lease counts as ended too early.
pub(crate) async fn states(
    c: &mut PgConnection,
    route: &RouteName,
    keys: &[KeyDigest],
) -> Result<HashMap<KeyDigest, KeyState>, Error> {
    let rows = sqlx::query(
        "select key, version, case when calling_until > now() then calling end as calling
         from newest where route = $1 and key = any ($2)",
    )
    .bind(route.as_str())
    .bind(digests(keys))
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let version: Option<&str> = row.try_get("version")?;
            let version = version.map(|_| row.known("version", Version::from_stored));
            let calling: Option<i64> = row.try_get("calling")?;
            let state = KeyState {
                version: version.transpose()?,
                calling: calling.map(EventNumber::from_i64),
            };
            Ok((row.key("key")?, state))
        })
        .collect()
}

/// Stores the versions of events that are done as the newest of their keys. This transaction has
/// locked the keys, and none of the versions is older than the stored one.
pub(crate) async fn raise(
    c: &mut PgConnection,
    route: &RouteName,
    newest: &[(EventNumber, &VersionedEvent)],
) -> Result<(), Error> {
    let (keys, versions, events) = columns(newest);
    sqlx::query(
        "insert into newest (route, key, version, event, done_at)
         select $1, came.key, came.version, came.event, now()
         from unnest($2::bytea[], $3::text[], $4::bigint[]) as came (key, version, event)
         order by came.key
         on conflict (route, key) do update
         set version = excluded.version, event = excluded.event, done_at = excluded.done_at",
    )
    .bind(route.as_str())
    .bind(keys)
    .bind(versions)
    .bind(events)
    .execute(c)
    .await?;
    Ok(())
}

/// Records that external calls are in flight for events with these keys. The record expires
/// `length` after the beginning of the transaction. This transaction must have locked the keys.
pub(crate) async fn call(
    c: &mut PgConnection,
    route: &RouteName,
    calls: &[(KeyDigest, EventNumber)],
    length: Duration,
) -> Result<(), Error> {
    let keys: Vec<&[u8; 16]> = calls.iter().map(|(key, _)| key.as_bytes()).collect();
    let events: Vec<i64> = calls.iter().map(|(_, event)| event.as_i64()).collect();
    sqlx::query(
        "update newest
         set calling = calls.event, calling_until = now() + make_interval(secs => $4)
         from unnest($2::bytea[], $3::bigint[]) as calls (key, event)
         where newest.route = $1 and newest.key = calls.key",
    )
    .bind(route.as_str())
    .bind(keys)
    .bind(events)
    .bind(length.min(DELAY_MAX).as_secs_f64())
    .execute(c)
    .await?;
    Ok(())
}

/// Records that the calls for these events are no longer in flight. A key stays as it is if a call
/// is in flight for another event with this key.
pub(crate) async fn free(
    c: &mut PgConnection,
    route: &RouteName,
    calls: &[(KeyDigest, EventNumber)],
) -> Result<(), Error> {
    let keys: Vec<&[u8; 16]> = calls.iter().map(|(key, _)| key.as_bytes()).collect();
    let events: Vec<i64> = calls.iter().map(|(_, event)| event.as_i64()).collect();
    sqlx::query(
        "update newest set calling = null, calling_until = null
         from unnest($2::bytea[], $3::bigint[]) as calls (key, event)
         where newest.route = $1 and newest.key = calls.key and newest.calling = calls.event",
    )
    .bind(route.as_str())
    .bind(keys)
    .bind(events)
    .execute(c)
    .await?;
    Ok(())
}

/// Returns the keys, the versions and the numbers of events as columns, for the arguments of a
/// statement.
fn columns<'a>(
    newest: &[(EventNumber, &'a VersionedEvent)],
) -> (Vec<&'a [u8; 16]>, Vec<String>, Vec<i64>) {
    let keys = newest.iter().map(|(_, event)| event.key.as_bytes());
    let versions = newest.iter().map(|(_, event)| event.version.to_string());
    let events = newest.iter().map(|(number, _)| number.as_i64());
    (keys.collect(), versions.collect(), events.collect())
}

fn digests(keys: &[KeyDigest]) -> Vec<&[u8; 16]> {
    keys.iter().map(KeyDigest::as_bytes).collect()
}
