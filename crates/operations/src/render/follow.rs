//! Formats the lines of `events follow` as text.

use super::Text;
use super::table::safe;
use crate::command::follow::{EndLine, HeldBackNote, NextEnd};

impl Text for EndLine {
    fn text(&self) -> String {
        let Self {
            cursor,
            event,
            event_number: _,
            topic,
            route,
            outcome,
            round,
            attempts,
            ended_at,
        } = self;
        let topic = safe(topic);
        format!(
            "{ended_at} {outcome} {route} {event} {topic} round {round} attempts {attempts} \
             {cursor}\n"
        )
    }
}

impl Text for HeldBackNote {
    fn text(&self) -> String {
        let name = safe(self.name.as_deref().unwrap_or_default());
        let database = safe(self.database.as_deref().unwrap_or_default());
        let by = match (self.process, &self.database) {
            (Some(process), _) => {
                format!(
                    "the transaction of process {process} (\"{name}\") in database \"{database}\""
                )
            }
            (None, Some(_)) => {
                format!("the prepared transaction \"{name}\" in database \"{database}\"")
            }
            (None, None) => "an open transaction".to_owned(),
        };
        let seconds = self.held_back_seconds;
        format!("committed ends are held back for {seconds} s by {by}\n")
    }
}

impl Text for NextEnd {
    fn text(&self) -> String {
        format!("next: --after {}\n", safe(&self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_ends_back_is_named() {
        let note = |process, database: Option<&str>, name: Option<&str>| {
            let note = HeldBackNote {
                held_back_seconds: 42,
                process,
                database: database.map(str::to_owned),
                name: name.map(str::to_owned),
            };
            note.text()
        };
        for (note, expect) in [
            (
                note(Some(7), Some("shop"), Some("psql")),
                "the transaction of process 7 (\"psql\") in database \"shop\"",
            ),
            (
                note(None, Some("shop"), Some("tx-1")),
                "the prepared transaction \"tx-1\" in database \"shop\"",
            ),
            (note(None, None, None), "an open transaction"),
        ] {
            let expect = format!("committed ends are held back for 42 s by {expect}\n");
            assert_eq!(note, expect);
        }
    }
}
