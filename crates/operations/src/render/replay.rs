//! Formats the report of `events replay` as text.

use super::table::count;
use super::{Text, problems};
use crate::command::replay::ReplayReport;

impl Text for ReplayReport {
    fn text(&self) -> String {
        let selected = &self.selected;
        let (route, filter) = (&self.route, &self.filter);
        let events = count(selected.replayed(), "event", "events");
        let mut text = if self.dry_run {
            format!("store: would put {events} on route {route} ({filter}); nothing was changed\n")
        } else {
            let replayed = self.replayed;
            format!("store: put {replayed} of {events} on route {route} ({filter})\n")
        };
        text.push_str(&format!(
            "  selected: {} done on the route, to run again; {} new to the route\n",
            selected.again, selected.first
        ));
        let done = if self.repeatable {
            "done on the route, and only new events were asked for"
        } else {
            "done on the route, and the handler does not allow an event to run again (a setting \
             of `sql`, `forward` and `publish` allows it: `repeatable = true`; a handler of your \
             own overrides `is_repeatable`)"
        };
        for (number, why) in [
            (selected.done, done),
            (selected.waiting, "waiting on the route for an attempt"),
            (
                selected.dead,
                "dead letters of the route: see `hookbox dead replay`",
            ),
            (
                selected.stale,
                "older than an event of the same key that is done on the route",
            ),
            (
                selected.other_topic,
                "of a topic that the route does not select",
            ),
            (
                selected.excluded,
                "new to the route, and excluded by its conditions (`where`)",
            ),
            (
                selected.without_receipt,
                "a conflict, or bytes that could not be decoded",
            ),
        ] {
            if number > 0 {
                text.push_str(&format!("  left alone: {number} {why}\n"));
            }
        }
        if self.interrupted {
            text.push_str(
                "  interrupted: run the command again for the remaining events, with a later \
                 --since: events that were replayed and are done would run once more\n",
            );
        }
        text.push_str(&problems(&self.problems));
        text
    }
}
