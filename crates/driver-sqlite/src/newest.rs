//! The table `newest`, for routes with `newest`: for each key of a route, the newest version that
//! is done, and the external call that is in flight for an event with this key.

use std::collections::HashMap;

use hookbox_driver::{KeyState, VersionedEvent};
use hookbox_event::{EventNumber, KeyDigest, RouteName};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::column::{Columns, hex_list};

/// The statement of [`states`]. `CROSS JOIN` makes SQLite read the list of keys first, and then
/// look up each key.
pub(crate) const STATES: &str = "select newest.key, newest.version,
            case when newest.calling_until > ?3 then newest.calling end as calling
     from json_each(?2) as wanted
     cross join newest on newest.route = ?1 and newest.key = unhex(wanted.value)";

/// Returns the stored states of these keys. No other transaction changes a key before this one
/// ends, because only one transaction at a time writes to the file.
pub(crate) async fn states(
    connection: &mut SqliteConnection,
    route: &RouteName,
    keys: &[KeyDigest],
    now: i64,
) -> sqlx::Result<HashMap<KeyDigest, KeyState>> {
    let rows = sqlx::query(STATES)
        .bind(route.as_str())
        .bind(hex_list(keys.iter().map(KeyDigest::as_bytes)))
        .bind(now)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let key = KeyDigest::from_bytes(row.id16("key")?);
            let version = row.text_or_none("version")?;
            let version = version.map(|_| row.version("version"));
            let calling: Option<i64> = row.try_get("calling")?;
            let state = KeyState {
                version: version.transpose()?,
                calling: calling.map(EventNumber::from_i64),
            };
            Ok((key, state))
        })
        .collect()
}

/// Stores the versions of events that are done as the newest of their keys. This transaction has
/// compared the versions, and none of them is older than the stored one.
pub(crate) async fn raise(
    connection: &mut SqliteConnection,
    route: &RouteName,
    newest: &[(EventNumber, &VersionedEvent)],
    now: i64,
) -> sqlx::Result<()> {
    for newest in newest.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "insert into newest (route, key, version, event, done_at) ",
        );
        insert.push_values(newest, |mut row, (number, event)| {
            row.push_bind(route.as_str())
                .push_bind(event.key.as_bytes().as_slice())
                .push_bind(event.version.to_string())
                .push_bind(number.as_i64())
                .push_bind(now);
        });
        insert.push(
            " on conflict (route, key) do update
              set version = excluded.version, event = excluded.event, done_at = excluded.done_at",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Records that external calls are in flight for events with these keys. The record expires at the
/// time `until`.
pub(crate) async fn call(
    connection: &mut SqliteConnection,
    route: &RouteName,
    calls: &[(KeyDigest, EventNumber)],
    until: i64,
) -> sqlx::Result<()> {
    for (key, event) in calls {
        sqlx::query(
            "insert into newest (route, key, calling, calling_until) values (?1, ?2, ?3, ?4)
             on conflict (route, key) do update
             set calling = excluded.calling, calling_until = excluded.calling_until",
        )
        .bind(route.as_str())
        .bind(key.as_bytes().as_slice())
        .bind(event.as_i64())
        .bind(until)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Records that the calls for these events are no longer in flight. A key stays as it is if a call
/// is in flight for another event with this key.
pub(crate) async fn free(
    connection: &mut SqliteConnection,
    route: &RouteName,
    calls: &[(KeyDigest, EventNumber)],
) -> sqlx::Result<()> {
    for (key, event) in calls {
        sqlx::query(
            "update newest set calling = null, calling_until = null
             where route = ?1 and key = ?2 and calling = ?3",
        )
        .bind(route.as_str())
        .bind(key.as_bytes().as_slice())
        .bind(event.as_i64())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
