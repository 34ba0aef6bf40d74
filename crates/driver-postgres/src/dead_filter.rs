//! A [`DeadFilter`] as the arguments of a statement.

use hookbox_driver::{DeadFilter, DeadReason, DeadState};
use hookbox_event::{RouteName, Topic};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

/// The condition over `dead_letters d join events e`, in arguments 1 to 5.
macro_rules! matching {
    () => {
        "($1::bigint[] is null or d.id = any ($1))
         and ($2::text is null or d.route = $2)
         and ($3::text is null or e.topic = $3)
         and ($4::text is null or d.reason = $4)
         and ($5::text is null or d.state = $5)"
    };
}
pub(crate) use matching;

/// Binds arguments 1 to 5.
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
}
