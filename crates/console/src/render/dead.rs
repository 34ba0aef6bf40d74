//! `dead …` as text.

use super::events::history;
use super::table::{Align, Table, count, safe_lines};
use super::{Text, problems};
use crate::command::dead::{
    Change, ChangeReport, DeadLetterReport, DeadReport, ExportReport, GroupsReport,
};

impl Text for GroupsReport {
    fn text(&self) -> String {
        if self.groups.is_empty() {
            return "store: no dead letters\n".to_owned();
        }
        let mut table = Table::new(&[
            ("COUNT", Align::Right),
            ("ROUTE", Align::Left),
            ("TOPIC", Align::Left),
            ("REASON", Align::Left),
            ("LAST DIED", Align::Left),
            ("DETAIL", Align::Left),
        ]);
        for group in &self.groups {
            table.row([
                group.count.to_string(),
                group.route.clone(),
                group.topic.clone(),
                group.reason.to_owned(),
                group.last_at.clone(),
                group.detail.clone(),
            ]);
        }
        let letters = self.groups.iter().map(|group| group.count).sum();
        let letters = count(letters, "dead letter", "dead letters");
        let groups = count(self.groups.len() as u64, "group", "groups");
        format!("store: {letters} in {groups}\n{}", table.write(""))
    }
}

impl Text for DeadReport {
    fn text(&self) -> String {
        let total = count(self.total, "dead letter", "dead letters");
        if self.dead.is_empty() {
            return format!("store: {total}, none to show\n");
        }
        let mut table = Table::new(&[
            ("ID", Align::Right),
            ("ROUTE", Align::Left),
            ("TOPIC", Align::Left),
            ("STATE", Align::Left),
            ("REASON", Align::Left),
            ("ATTEMPTS", Align::Right),
            ("DIED", Align::Left),
            ("DETAIL", Align::Left),
        ]);
        for dead in &self.dead {
            table.row([
                dead.id.to_string(),
                dead.route.clone(),
                dead.topic.clone(),
                dead.state.to_owned(),
                dead.reason.to_owned(),
                dead.attempts.to_string(),
                dead.died_at.clone(),
                dead.detail.clone(),
            ]);
        }
        let shown = self.dead.len() as u64;
        let cut = match self.dead.last() {
            Some(last) if shown < self.total => {
                format!(", {shown} shown (--after {} goes on)", last.id)
            }
            Some(_) | None => String::new(),
        };
        format!("store: {total}{cut}\n{}", table.write(""))
    }
}

impl Text for DeadLetterReport {
    fn text(&self) -> String {
        let dead = &self.dead;
        format!(
            "store: dead letter {} of route {}\n  state     {}\n  reason    {}\n  attempts  {}\n  \
             died      {}\n{}  event     {}\n{}",
            dead.id,
            dead.route,
            dead.state,
            dead.reason,
            dead.attempts,
            dead.died_at,
            safe_lines(&dead.detail, "  detail    "),
            dead.event,
            history(&self.history),
        )
    }
}

impl Text for ChangeReport {
    fn text(&self) -> String {
        let matched = count(self.matched, "dead letter", "dead letters");
        let (infinitive, done) = words(self.change);
        let mut text = if self.dry_run {
            let filter = &self.filter;
            format!("store: would {infinitive} {matched} ({filter}); nothing was changed\n")
        } else {
            format!(
                "store: {done} {} of {matched} ({})\n",
                self.changed, self.filter
            )
        };
        if self.left_alone > 0 {
            let left = self.left_alone;
            text.push_str(&format!("  {left} left alone: changed meanwhile, "));
            text.push_str("or nothing to put into a queue");
            if self.left_undecodable > 0 {
                text.push_str(&format!(" ({} undecodable)", self.left_undecodable));
            }
            text.push('\n');
        }
        if self.not_found > 0 {
            let ids = count(self.not_found, "id is", "ids are");
            text.push_str(&format!("  {ids} no dead letter that can be {done}\n"));
        }
        if self.interrupted {
            text.push_str("  interrupted: run it again for the rest\n");
        }
        text.push_str(&problems(&self.problems));
        text
    }
}

fn words(change: Change) -> (&'static str, &'static str) {
    match change {
        Change::Replay => ("replay", "replayed"),
        Change::Discard => ("discard", "discarded"),
        Change::Restore => ("restore", "restored"),
    }
}

impl Text for ExportReport {
    fn text(&self) -> String {
        let matched = count(self.matched, "dead letter", "dead letters");
        let mut text = format!(
            "store: exported {} of {matched} ({})\n",
            self.exported, self.filter
        );
        if self.interrupted {
            text.push_str("  interrupted: what was written is whole lines\n");
        }
        text.push_str(&problems(&self.problems));
        text
    }
}
