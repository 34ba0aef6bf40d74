//! Converts a [`DeadFilter`] into the conditions of an SQL statement.

use hookbox_driver::{DeadFilter, DeadReason, DeadState};
use hookbox_event::{RouteName, SourceName, Topic};
use sqlx::{QueryBuilder, Sqlite};

use crate::column::number_list;
use crate::conditions::{push_times, push_words};

/// Appends a filter to a statement over `dead_letters AS d JOIN events AS e`, as conditions of its
/// `WHERE`. Only dead letters with an id above `after` match.
pub(crate) fn push(select: &mut QueryBuilder<Sqlite>, filter: &DeadFilter, after: i64) {
    select.push(" where d.id > ").push_bind(after);
    if !filter.ids.is_empty() {
        let ids = number_list(filter.ids.iter().copied());
        select.push(" and d.id in (select value from json_each(");
        select.push_bind(ids).push("))");
    }
    push_words(
        select,
        [
            (
                " and d.route = ",
                filter.route.as_ref().map(RouteName::as_str),
            ),
            (" and e.topic = ", filter.topic.as_ref().map(Topic::as_str)),
            (
                " and e.source = ",
                filter.source.as_ref().map(SourceName::as_str),
            ),
            (" and d.reason = ", filter.reason.map(DeadReason::as_str)),
            (" and d.state = ", filter.state.map(DeadState::as_str)),
        ],
    );
    if let Some(group) = filter.group {
        select
            .push(" and d.group_id = ")
            .push_bind(group.to_string());
    }
    push_times(select, "d.died_at", filter.since, filter.until);
    if let Some(error) = &filter.error {
        select
            .push(" and instr(d.detail, ")
            .push_bind(error.clone());
        select.push(") > 0");
    }
}
