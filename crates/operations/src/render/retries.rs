//! Formats the reports of the commands `retries …` as text.

use hookbox_driver::DeferReason;

use super::table::{Align, Table, count, next, short};
use super::{Text, problems, targets};
use crate::command::retries::{HurryReport, RetriesReport};

impl Text for RetriesReport {
    fn text(&self) -> String {
        if self.retries.is_empty() {
            return "store: no retries\n".to_owned();
        }
        let mut table = Table::new(&[
            ("EVENT", Align::Left),
            ("ROUTE", Align::Left),
            ("TOPIC", Align::Left),
            ("ATTEMPT", Align::Right),
            ("DUE", Align::Left),
            ("STATE", Align::Left),
            ("ERROR", Align::Left),
        ]);
        for retry in &self.retries {
            let state = match (&retry.queued_at, &retry.deferred) {
                (Some(_), _) => "queued".to_owned(),
                (None, Some(reason)) if reason == DeferReason::Leased.as_str() => reason.clone(),
                (None, Some(reason)) => format!("deferred: {reason}"),
                (None, None) => "waiting".to_owned(),
            };
            table.row([
                short(&retry.event),
                retry.route.clone(),
                retry.topic.clone(),
                retry.attempt.to_string(),
                retry.not_before.clone(),
                state,
                retry.error.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        let shown = count(self.retries.len() as u64, "retry", "retries");
        let reasons = self.retries.iter().map(|retry| retry.deferred.as_deref());
        let hint = targets::hint(reasons);
        let next = next(self.next.as_deref());
        format!(
            "store: {shown}, next due first\n{}{hint}{next}",
            table.write("")
        )
    }
}

impl Text for HurryReport {
    fn text(&self) -> String {
        let matched = count(self.matched, "retry", "retries");
        let filter = &self.filter;
        let mut text = if self.dry_run {
            format!("store: would make {matched} due now ({filter}); nothing was changed\n")
        } else {
            let hurried = self.hurried;
            format!("store: made {hurried} of {matched} due now ({filter})\n")
        };
        if self.interrupted {
            text.push_str("  interrupted: run the command again for the remaining retries\n");
        }
        text.push_str(&problems(&self.problems));
        text
    }
}
