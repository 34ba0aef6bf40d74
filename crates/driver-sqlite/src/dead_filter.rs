//! Converts a [`DeadFilter`] into the conditions of a statement.

use hookbox_driver::{DeadFilter, DeadReason, DeadState};
use hookbox_event::{RouteName, SourceName, Topic};
use sqlx::{QueryBuilder, Sqlite};

use crate::column::number_list;
use crate::conditions::{push_times, push_words};

/// Appends a filter to a statement over `dead_letters AS d JOIN events AS e`, as conditions of its
/// `WHERE`. Only dead letters with an id above `after` match.
pub(crate) fn push(select: &mut QueryBuilder<Sqlite>, filter: &DeadFilter, after: i64) {
    select.push(" WHERE d.id > ").push_bind(after);
    if !filter.ids.is_empty() {
        let ids = number_list(filter.ids.iter().copied());
        select.push(" AND d.id IN (SELECT value FROM json_each(");
        select.push_bind(ids).push("))");
    }
    push_words(
        select,
        [
            (
                " AND d.route = ",
                filter.route.as_ref().map(RouteName::as_str),
            ),
            (" AND e.topic = ", filter.topic.as_ref().map(Topic::as_str)),
            (
                " AND e.source = ",
                filter.source.as_ref().map(SourceName::as_str),
            ),
            (" AND d.reason = ", filter.reason.map(DeadReason::as_str)),
            (" AND d.state = ", filter.state.map(DeadState::as_str)),
        ],
    );
    if let Some(group) = filter.group {
        select
            .push(" AND d.group_id = ")
            .push_bind(group.to_string());
    }
    push_times(select, "d.died_at", filter.since, filter.until);
    if let Some(error) = &filter.error {
        select
            .push(" AND instr(d.detail, ")
            .push_bind(error.clone());
        select.push(") > 0");
    }
}
