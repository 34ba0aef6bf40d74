//! Formats the report of `targets list` as text.

use super::Text;
use super::table::{Align, Table, count, safe};
use crate::command::targets::{TargetLine, TargetsReport};
use hookbox_driver::{BreakerState, DeferReason};

impl Text for TargetsReport {
    fn text(&self) -> String {
        if self.targets.is_empty() {
            return "store: no targets of external calls\n".to_owned();
        }
        let mut table = Table::new(&[
            ("TARGET", Align::Left),
            ("BREAKER", Align::Left),
            ("NO CALLS UNTIL", Align::Left),
            ("IN FLIGHT", Align::Right),
            ("FAULTS", Align::Right),
        ]);
        for line in &self.targets {
            table.row([
                line.target.clone(),
                breaker(line).to_owned(),
                line.blocked_until.clone().unwrap_or_else(|| "-".to_owned()),
                line.in_flight.to_string(),
                line.faults.to_string(),
            ]);
        }
        let shown = count(self.targets.len() as u64, "target", "targets");
        let errors: String = self.targets.iter().filter_map(error).collect();
        format!("store: {shown}\n{}{errors}", table.write(""))
    }
}

/// Returns the hint to `hookbox targets list`, if one of the given reasons for a deferral is about
/// a target; otherwise an empty text.
pub(super) fn hint<'a>(mut reasons: impl Iterator<Item = Option<&'a str>>) -> &'static str {
    let by_target = [
        DeferReason::TargetFault,
        DeferReason::TargetBusy,
        DeferReason::TargetClosed,
    ];
    let by_target = by_target.map(DeferReason::as_str);
    if reasons.any(|reason| reason.is_some_and(|reason| by_target.contains(&reason))) {
        "target_fault, target_busy and target_closed: see `hookbox targets list` for the reason\n"
    } else {
        ""
    }
}

/// Formats the line that says why a target is not reached now; `None` when it is reached.
fn error(line: &TargetLine) -> Option<String> {
    let (error, at) = (line.last_error.as_deref()?, line.last_error_at.as_deref()?);
    let (target, error) = (safe(&line.target), safe(error));
    line.is_in_trouble
        .then(|| format!("{target} at {at}: {error}\n"))
}

fn breaker(line: &TargetLine) -> &'static str {
    match line.breaker {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    }
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn only_deferrals_by_a_target_have_a_hint() {
        let none = [None, Some("leased"), Some("foreign_lock")];
        assert_eq!(hint(none.into_iter()), "");
        let expect = "target_fault, target_busy and target_closed: see `hookbox targets list` \
                      for the reason\n";
        for reason in ["target_fault", "target_busy", "target_closed"] {
            assert_eq!(hint([None, Some(reason)].into_iter()), expect);
        }
    }
}
