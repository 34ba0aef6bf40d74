//! Formats the reports of the commands `refusals …` as text.

use super::Text;
use super::table::{Align, Table, count, next};
use crate::command::refusals::{RefusalGroupsReport, RefusalsReport};

impl Text for RefusalsReport {
    fn text(&self) -> String {
        if self.refusals.is_empty() {
            return "store: no refusals\n".to_owned();
        }
        let mut table = Table::new(&[
            ("REQUEST", Align::Left),
            ("REFUSED", Align::Left),
            ("SOURCE", Align::Left),
            ("REASON", Align::Left),
            ("FROM", Align::Left),
            ("BYTES", Align::Right),
        ]);
        for refusal in &self.refusals {
            table.row([
                refusal.request.clone(),
                refusal.at.clone(),
                refusal.source.clone(),
                refusal.reason.clone(),
                refusal.peer.clone(),
                refusal.body_bytes.to_string(),
            ]);
        }
        let shown = count(self.refusals.len() as u64, "refusal", "refusals");
        let next = next(self.next.as_deref());
        format!("store: {shown}, newest first\n{}{next}", table.write(""))
    }
}

impl Text for RefusalGroupsReport {
    fn text(&self) -> String {
        if self.groups.is_empty() {
            return "store: no refusals\n".to_owned();
        }
        let mut table = Table::new(&[
            ("COUNT", Align::Right),
            ("SOURCE", Align::Left),
            ("REASON", Align::Left),
            ("ADDRESSES", Align::Right),
            ("FIRST", Align::Left),
            ("LAST", Align::Left),
        ]);
        for group in &self.groups {
            table.row([
                group.count.to_string(),
                group.source.clone(),
                group.reason.clone(),
                group.peers.to_string(),
                group.first_at.clone(),
                group.last_at.clone(),
            ]);
        }
        let refusals = self.groups.iter().map(|group| group.count).sum();
        let refusals = count(refusals, "refusal", "refusals");
        let groups = count(self.groups.len() as u64, "group", "groups");
        format!("store: {refusals} in {groups}\n{}", table.write(""))
    }
}
