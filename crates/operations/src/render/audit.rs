//! Formats the report of `audit list` as text.

use super::Text;
use super::table::{Align, Table, count, next};
use crate::command::audit::AuditReport;

impl Text for AuditReport {
    fn text(&self) -> String {
        if self.audit.is_empty() {
            return "store: no rows in the audit\n".to_owned();
        }
        let mut table = Table::new(&[
            ("ID", Align::Right),
            ("AT", Align::Left),
            ("WHO", Align::Left),
            ("ACTION", Align::Left),
            ("SUBJECT", Align::Left),
        ]);
        for row in &self.audit {
            table.row([
                row.id.to_string(),
                row.at.clone(),
                row.actor.clone(),
                row.action.clone(),
                row.subject.clone(),
            ]);
        }
        let shown = count(self.audit.len() as u64, "row", "rows");
        let next = next(self.next.map(|next| next.to_string()).as_deref());
        format!(
            "store: {shown} of the audit, newest first\n{}{next}",
            table.write("")
        )
    }
}
