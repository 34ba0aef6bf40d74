//! The conditions that several filters of lists share.

use hookbox_event::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

/// Appends each condition that has a value, with that value bound.
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

/// Appends the conditions of a time span: from `since` on, and before `until`.
pub(crate) fn push_times(
    select: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) {
    for (comparison, at) in [(" >= ", since), (" < ", until)] {
        if let Some(at) = at {
            select.push(" AND ").push(column).push(comparison);
            select.push_bind(at.unix_micros());
        }
    }
}
