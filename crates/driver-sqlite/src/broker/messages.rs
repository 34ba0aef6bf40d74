//! The table `messages`, which holds all queues. A message is free to be taken when its lease is
//! over.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::Batch;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row};

use crate::column::{Columns, number_list};
use crate::moment;

/// The random token of a subscription. It marks the messages that the subscription has taken.
pub(crate) type Token = [u8; 16];

/// The token of a message that no subscription has taken.
const NO_TOKEN: Token = [0; 16];

/// The end of the lease of a free message: the year 2005, which is in the past for any clock.
/// SQLite stores this number in as many bytes as any later time, so the row keeps its size when the
/// message is taken.
const FREE: i64 = 1 << 50;

/// The rule by which a lease of a message counts as valid. A lease is valid until its end, unless
/// its end is further in the future than any lease taken now could reach. Such a lease was taken
/// with a wrong clock, or before the clock was set back, and its holder may have ended long ago. If
/// the holder still runs and the message is processed twice, the claim of the event makes the
/// second delivery a duplicate, as with any redelivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leases {
    now: i64,
    furthest: i64,
}

impl Leases {
    /// Returns the rule for the present moment, if leases are configured with this length.
    pub(crate) fn lasting(lease: Duration) -> Self {
        Self {
            now: moment::now(),
            // A lease whose end is further away than twice the configured length does not count. A
            // lease up to that is possible, because other processes that use the file may be
            // configured with a longer lease.
            furthest: moment::in_(lease.saturating_mul(2)),
        }
    }
}

/// A message that a subscription has taken.
pub(crate) struct TakenMessage {
    pub(crate) id: i64,
    pub(crate) bytes: Bytes,
    pub(crate) deliveries: u32,
    pub(crate) died_in: Option<String>,
}

/// The numbers of messages and events in one queue.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueueCounts {
    pub(crate) ready: u64,
    pub(crate) unsettled: u64,
    pub(crate) events: u64,
}

/// Returns a token that no other subscription has, from SQLite's random generator. The query also
/// reads the table, so that an unreadable file is reported here.
pub(crate) async fn new_token(connection: &mut SqliteConnection) -> sqlx::Result<Token> {
    let random: Vec<u8> =
        sqlx::query_scalar("select randomblob(16) from (select count(*) from messages)")
            .fetch_one(connection)
            .await?;
    random.try_into().map_err(|_| {
        sqlx::Error::Protocol("randomblob(16) returned another number of bytes".to_owned())
    })
}

/// Inserts batches into queues.
pub(crate) async fn publish<'a>(
    connection: &mut SqliteConnection,
    rows: &[(&'a str, &'a Batch)],
    now: i64,
) -> sqlx::Result<()> {
    for rows in rows.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "insert into messages
             (queue, topic, count, first_receipt, published_at, taken_by, lease_until, bytes) ",
        );
        insert.push_values(rows, |mut row, (queue, batch)| {
            row.push_bind(*queue)
                .push_bind(batch.topic.as_str())
                .push_bind(i64::try_from(batch.count).unwrap_or(i64::MAX))
                .push_bind(&batch.first_receipt.as_bytes()[..])
                .push_bind(now)
                .push_bind(&NO_TOKEN[..])
                .push_bind(FREE)
                .push_bind(&batch.bytes[..]);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns whether the queue has a message that can be taken.
pub(crate) async fn is_waiting(
    connection: &mut SqliteConnection,
    queue: &str,
    leases: Leases,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select 1 from messages
                        where queue = ?1 and (lease_until <= ?2 or lease_until > ?3))",
    )
    .bind(queue)
    .bind(leases.now)
    .bind(leases.furthest)
    .fetch_one(connection)
    .await
}

/// Takes up to `limit` free messages of a queue, oldest first. Their leases end at `lease_until`.
pub(crate) async fn take(
    connection: &mut SqliteConnection,
    queue: &str,
    token: &Token,
    leases: Leases,
    lease_until: i64,
    limit: usize,
) -> sqlx::Result<Vec<TakenMessage>> {
    let rows = sqlx::query(
        "update messages set taken_by = ?2, lease_until = ?4, deliveries = deliveries + 1
         where id in (select id from messages
                      where queue = ?1 and (lease_until <= ?3 or lease_until > ?6)
                      order by id limit ?5)
         returning id, deliveries, died_in, bytes",
    )
    .bind(queue)
    .bind(&token[..])
    .bind(leases.now)
    .bind(lease_until)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(leases.furthest)
    .fetch_all(connection)
    .await?;
    let mut taken = rows
        .iter()
        .map(|row| {
            Ok(TakenMessage {
                id: row.try_get("id")?,
                deliveries: row.attempt("deliveries")?,
                died_in: row.text_or_none("died_in")?,
                bytes: row.bytes("bytes")?,
            })
        })
        .collect::<sqlx::Result<Vec<_>>>()?;
    // SQLite promises no order for the rows of `RETURNING`.
    taken.sort_unstable_by_key(|taken| taken.id);
    Ok(taken)
}

/// Deletes acknowledged messages, except those that the subscription no longer owns. Returns how
/// many it deleted.
pub(crate) async fn forget(
    connection: &mut SqliteConnection,
    token: &Token,
    ids: impl IntoIterator<Item = i64>,
) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from messages
         where id in (select value from json_each(?1)) and taken_by = ?2",
    )
    .bind(number_list(ids))
    .bind(&token[..])
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Puts messages back into their queue, except those that the subscription no longer owns. This
/// delivery does not count against the delivery limit. `delivered` states whether a consumer
/// received the messages; if so, they stay marked as redelivered.
pub(crate) async fn put_back(
    connection: &mut SqliteConnection,
    token: &Token,
    ids: impl IntoIterator<Item = i64>,
    delivered: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "update messages
         set taken_by = ?3, lease_until = ?4, deliveries = max(?5, deliveries - 1)
         where id in (select value from json_each(?1)) and taken_by = ?2",
    )
    .bind(number_list(ids))
    .bind(&token[..])
    .bind(&NO_TOKEN[..])
    .bind(FREE)
    .bind(i64::from(delivered))
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts messages back into their queue after their delivery was dropped unsettled. This delivery
/// counts against the delivery limit. So a message that kills every process which receives it moves
/// to the dead-letter queue when the limit is reached.
pub(crate) async fn put_back_counted(
    connection: &mut SqliteConnection,
    token: &Token,
    ids: impl IntoIterator<Item = i64>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update messages set taken_by = ?3, lease_until = ?4
         where id in (select value from json_each(?1)) and taken_by = ?2",
    )
    .bind(number_list(ids))
    .bind(&token[..])
    .bind(&NO_TOKEN[..])
    .bind(FREE)
    .execute(connection)
    .await?;
    Ok(())
}

/// Renews the leases of messages, except those that the subscription no longer owns, and returns
/// the ids of the renewed ones. A lease that has ended is renewed as well, if no other subscription
/// has taken the message since.
pub(crate) async fn renew(
    connection: &mut SqliteConnection,
    token: &Token,
    ids: impl IntoIterator<Item = i64>,
    lease_until: i64,
) -> sqlx::Result<HashSet<i64>> {
    let ids: Vec<i64> = sqlx::query_scalar(
        "update messages set lease_until = ?3
         where id in (select value from json_each(?1)) and taken_by = ?2 returning id",
    )
    .bind(number_list(ids))
    .bind(&token[..])
    .bind(lease_until)
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Moves messages that the subscription owns to the dead-letter queue, and records the queue from
/// which they came.
pub(crate) async fn give_up(
    connection: &mut SqliteConnection,
    token: &Token,
    ids: impl IntoIterator<Item = i64>,
    dead: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "update messages set died_in = queue, queue = ?3, deliveries = 0, taken_by = ?4,
             lease_until = ?5
         where id in (select value from json_each(?1)) and taken_by = ?2",
    )
    .bind(number_list(ids))
    .bind(&token[..])
    .bind(dead)
    .bind(&NO_TOKEN[..])
    .bind(FREE)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns how many messages and events wait, by queue; an empty queue is not in the result.
pub(crate) async fn depths(
    connection: &mut SqliteConnection,
    leases: Leases,
) -> sqlx::Result<HashMap<String, QueueCounts>> {
    let rows = sqlx::query(
        "select queue, sum(lease_until <= ?1 or lease_until > ?2) as ready,
                sum(lease_until > ?1 and lease_until <= ?2) as unsettled,
                sum(count) as events
         from messages group by queue",
    )
    .bind(leases.now)
    .bind(leases.furthest)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let waiting = QueueCounts {
                ready: row.count("ready")?,
                unsettled: row.count("unsettled")?,
                events: row.count("events")?,
            };
            Ok((row.text("queue")?, waiting))
        })
        .collect()
}
