//! Formats the reports of the commands `dead …` as text.

use hookbox_driver::DeadChange;

use super::events::history;
use super::table::{Align, Table, count, next, safe, safe_lines};
use super::{Text, problems};
use crate::command::dead::{
    ChangeReport, DeadLetterReport, DeadReport, EarlierDeathLine, ExportReport, GroupsReport,
};

impl Text for GroupsReport {
    fn text(&self) -> String {
        if self.groups.is_empty() {
            return "store: no dead letters\n".to_owned();
        }
        let mut table = Table::new(&[
            ("GROUP", Align::Left),
            ("COUNT", Align::Right),
            ("ROUTE", Align::Left),
            ("TOPIC", Align::Left),
            ("REASON", Align::Left),
            ("LAST DIED", Align::Left),
            ("NEWEST", Align::Right),
            ("CAUSE", Align::Left),
        ]);
        for group in &self.groups {
            let topic = match &group.topic {
                Some(topic) => topic.clone(),
                None => count(group.topics, "topic", "topics"),
            };
            table.row([
                group.group.clone(),
                group.count.to_string(),
                group.route.clone(),
                topic,
                group.reason.to_owned(),
                group.last_at.clone(),
                group.newest.to_string(),
                group.detail.clone(),
            ]);
        }
        let total = self.groups.iter().map(|group| group.count).sum();
        let total = count(total, "dead letter", "dead letters");
        let groups = count(self.groups.len() as u64, "group", "groups");
        format!("store: {total} in {groups}\n{}", table.write(""))
    }
}

impl Text for DeadReport {
    fn text(&self) -> String {
        let total = self
            .total
            .map(|total| format!(" of {total}"))
            .unwrap_or_default();
        if self.dead.is_empty() {
            return format!("store: no dead letters{total}\n");
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
        let shown = count(self.dead.len() as u64, "dead letter", "dead letters");
        let next = next(self.next.map(|next| next.to_string()).as_deref());
        format!("store: {shown}{total}\n{}{next}", table.write(""))
    }
}

impl Text for DeadLetterReport {
    fn text(&self) -> String {
        let dead = &self.dead;
        format!(
            "store: dead letter {} of route {}\n  state     {}\n  reason    {}\n  attempts  {}\n  \
             died      {}\n{}  event     {}\n{}{}",
            dead.id,
            dead.route,
            dead.state,
            dead.reason,
            dead.attempts,
            dead.died_at,
            safe_lines(&dead.detail, "  detail    "),
            dead.event,
            history(&self.history),
            earlier(&self.earlier),
        )
    }
}

fn earlier(deaths: &[EarlierDeathLine]) -> String {
    if deaths.is_empty() {
        return String::new();
    }
    let mut text = "earlier deaths\n".to_owned();
    for death in deaths {
        text.push_str(&format!(
            "  {}: {} after {}; replayed at {} by {}\n",
            death.died_at,
            death.reason,
            count(death.attempts.into(), "attempt", "attempts"),
            death.replayed_at,
            safe(&death.replayed_by),
        ));
        text.push_str(&safe_lines(&death.detail, "      "));
    }
    text
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
            text.push_str(&format!(
                "  {left} skipped: another operator changed them meanwhile, "
            ));
            text.push_str("or they have no event to replay");
            if self.left_undecodable > 0 {
                text.push_str(&format!(" ({} undecodable)", self.left_undecodable));
            }
            text.push('\n');
        }
        if self.not_found > 0 {
            let ids = count(self.not_found, "id is", "ids are");
            text.push_str(&format!("  {ids} no dead letter that can be {done}\n"));
        }
        if let Some(outcome) = &self.outcome {
            let (done, again) = (outcome.done, outcome.dead_again);
            text.push_str(&format!("  {done} done, {again} dead again"));
            if outcome.stale > 0 {
                text.push_str(&format!(", {} stale", outcome.stale));
            }
            if outcome.undecided > 0 {
                text.push_str(&format!(", {} without an outcome yet", outcome.undecided));
                text.push_str(": `hookbox dead groups` will count those that die again");
            }
            text.push('\n');
        }
        if self.interrupted {
            let left = self.matched.saturating_sub(self.changed + self.left_alone);
            text.push_str(&format!(
                "  interrupted: run the command again for the other {left}\n"
            ));
        }
        text.push_str(&problems(&self.problems));
        text
    }
}

fn words(change: DeadChange) -> (&'static str, &'static str) {
    match change {
        DeadChange::Replay => ("replay", "replayed"),
        DeadChange::Discard => ("discard", "discarded"),
        DeadChange::Restore => ("restore", "restored"),
    }
}

impl Text for ExportReport {
    fn text(&self) -> String {
        let matched = count(self.matched, "dead letter", "dead letters");
        let mut text = format!(
            "store: exported {} of {matched} ({})\n",
            self.exported, self.filter
        );
        if self.not_found > 0 {
            let ids = count(self.not_found, "id is", "ids are");
            text.push_str(&format!(
                "  {ids} no dead letter that matches (`--state any` selects every state)\n"
            ));
        }
        if self.interrupted {
            text.push_str("  interrupted: the lines that were written are complete\n");
        }
        text.push_str(&problems(&self.problems));
        text
    }
}
