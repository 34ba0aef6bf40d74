//! Formats the report of `queues declare` as text.

use super::{Text, problems};
use crate::command::declare::DeclareReport;

impl Text for DeclareReport {
    fn text(&self) -> String {
        if self.missing.is_empty() {
            return "no queue is missing\n".to_owned();
        }
        let lines = self
            .missing
            .iter()
            .map(|queue| format!("declared {}\n", queue.line()));
        let lost = "`hookbox reconcile` lists the receipts that are known to be lost\n";
        let has_lost = self
            .missing
            .iter()
            .any(|queue| queue.was_used == Some(true));
        format!(
            "{}{}{}",
            lines.collect::<String>(),
            if has_lost { lost } else { "" },
            problems(&self.problems)
        )
    }
}
