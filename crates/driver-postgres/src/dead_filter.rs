//! Converts a [`DeadFilter`] into the conditions and arguments of an SQL statement.

use hookbox_driver::{DeadFilter, DeadGroupId, DeadReason, DeadState};
use hookbox_event::{RouteName, SourceName, Topic};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use crate::column::moment;

/// The SQL conditions of a filter over `dead_letters d join events e`. They use the statement's
/// arguments `$1` to `$10`.
macro_rules! matching {
    () => {
        "($1::bigint[] is null or d.id = any ($1))
         and ($2::text is null or d.route = $2)
         and ($3::text is null or e.topic = $3)
         and ($4::text is null or d.reason = $4)
         and ($5::text is null or d.state = $5)
         and ($6::text is null or d.group_id = $6)
         and ($7::text is null or e.source = $7)
         and ($8::timestamptz is null or d.died_at >= $8)
         and ($9::timestamptz is null or d.died_at < $9)
         and ($10::text is null or position($10 in d.detail) > 0)"
    };
}
pub(crate) use matching;

/// Binds the filter to the statement's arguments `$1` to `$10`.
pub(crate) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    filter: &'q DeadFilter,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind((!filter.ids.is_empty()).then_some(&filter.ids))
        .bind(filter.route.as_ref().map(RouteName::as_str))
        .bind(filter.topic.as_ref().map(Topic::as_str))
        .bind(filter.reason.map(DeadReason::as_str))
        .bind(filter.state.map(DeadState::as_str))
        .bind(filter.group.map(|group: DeadGroupId| group.to_string()))
        .bind(filter.source.as_ref().map(SourceName::as_str))
        .bind(filter.since.map(moment))
        .bind(filter.until.map(moment))
        .bind(filter.error.as_deref())
}
