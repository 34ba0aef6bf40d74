//! Formats the pauses of routes, as several reports show them.

use super::table::safe;
use crate::command::pause_line::PauseLine;

/// Formats one line for each paused route.
pub(super) fn pauses<'a>(paused: impl IntoIterator<Item = (&'a str, &'a PauseLine)>) -> String {
    let line = |(route, pause): (&str, &PauseLine)| {
        let which = if pause.all_routes { "--all" } else { route };
        format!(
            "PAUSED: route {route} {}; its events wait until `hookbox routes resume {which}`\n",
            cause(pause)
        )
    };
    paused.into_iter().map(line).collect()
}

/// Formats who has paused a route, since when and why.
pub(super) fn cause(pause: &PauseLine) -> String {
    let all = if pause.all_routes {
        ", as all routes,"
    } else {
        ""
    };
    let (by, why) = (safe(&pause.by), safe(&pause.why));
    format!("is paused{all} by {by} since {}: {why}", pause.since)
}
