//! Builds the parts of a `WHERE` clause that several kinds of lists have in common.

use hookbox_event::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

/// Appends the SQL conditions for which a value is given, and binds each value.
pub(crate) fn push_words<const N: usize>(
    select: &mut QueryBuilder<Sqlite>,
    words: [(&'static str, Option<&str>); N],
) {
    for (condition, word) in words {
        if let Some(word) = word {
            select.push(condition).push_bind(word.to_owned());
        }
    }
}

/// Appends the conditions that the time in the column is at or after `since` and before `until`.
pub(crate) fn push_times(
    select: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) {
    for (comparison, at) in [(" >= ", since), (" < ", until)] {
        if let Some(at) = at {
            select.push(" and ").push(column).push(comparison);
            select.push_bind(at.unix_micros());
        }
    }
}
