//! The receipts that ingests have reported as accepted, in the form that operators see.

use hookbox_event::{Account, InstanceId, ReceiptId, RouteName};
use serde::Serialize;

use crate::RouteBooks;

/// The receipts that ingests have reported as accepted, and those of them that have no outcome yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// The number of reported receipts of each route.
    pub reported: Vec<(RouteName, u64)>,
    /// The number of reported receipts without an outcome, for each route that has any.
    pub open_by_route: Vec<(RouteName, u64)>,
    /// The number of receipts that were written off as lost, for each route that has any.
    pub written_off: Vec<(RouteName, u64)>,
    /// The oldest receipts without an outcome. Such a receipt either still waits for its handler or
    /// is lost, and the store cannot tell which. A caller that knows that no message is queued or
    /// in flight knows that the receipt is lost.
    pub open: Vec<OpenReceipt>,
    /// The sequence gaps: numbers that no accept report covers, although a report covers a higher
    /// number.
    pub gaps: Vec<AccountGap>,
}

impl Accounts {
    /// Returns the number of reported receipts without an outcome, summed over all routes.
    pub fn open_count(&self) -> u64 {
        self.open_by_route.iter().map(|(_, count)| count).sum()
    }

    /// Returns how many reported receipts are gone, which means that the store has lost their rows.
    /// `books` counts the settled receipts of each route, and must be the later of the two
    /// readings: a receipt that is settled between them would otherwise count as gone.
    pub fn gone(&self, books: &[RouteBooks]) -> u64 {
        let of_route = |counts: &[(RouteName, u64)], route: &RouteName| {
            let found = counts.iter().find(|(name, _)| name == route);
            found.map_or(0, |(_, count)| *count)
        };
        let gone = self.reported.iter().map(|(route, reported)| {
            let line = books.iter().find(|line| line.route == *route);
            let settled = line.map_or(0, RouteBooks::receipts);
            let open = of_route(&self.open_by_route, route);
            receipts_gone(*reported, settled, open, of_route(&self.written_off, route))
        });
        gone.sum()
    }
}

/// Returns how many reported receipts of a route are gone: they are neither settled nor open nor
/// written off, so the store has lost their rows. The result is never too large. It can be too
/// small: a receipt that is settled but was never reported is subtracted as well, and so hides one
/// that is gone.
pub const fn receipts_gone(reported: u64, settled: u64, open: u64, written_off: u64) -> u64 {
    reported.saturating_sub(settled + open + written_off)
}

/// The name of a write-off in the audit.
pub const WRITE_OFF_ACTION: &str = "reconcile.write_off";

/// How many of the sequence numbers after that of a receipt are searched for one that has passed
/// it. The limit keeps the search short where no later receipt of the process is on the same route.
/// The ids of receipts would not do: they have the times at which requests began, by the clocks of
/// different machines, and a slow request is published after many that began later.
pub const PASSED_WITHIN: i64 = 1_000;

/// A receipt that has no outcome yet. Its ingest has reported it as accepted, so its provider got
/// the answer 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenReceipt {
    /// The receipt that has no outcome.
    pub receipt: ReceiptId,
    /// The route on which the receipt has no outcome.
    pub route: RouteName,
    /// The ingest process that accepted the receipt.
    pub instance: InstanceId,
    /// The sequence number that the ingest process gave the receipt.
    pub number: u64,
    /// The seconds since the receipt's accept report was stored.
    pub seconds: u64,
    /// Whether a later receipt has passed this one: a receipt that the same ingest process
    /// published later (one of the next [`PASSED_WITHIN`] sequence numbers) has had its outcome on
    /// this route for longer than the overdue limit. Always false while an operator has paused the
    /// route, and for the length of the overdue limit after the pause.
    pub passed: bool,
}

impl OpenReceipt {
    /// Returns the subject of the audit row of a write-off of this receipt, with its reason.
    pub fn write_off_subject(&self, why: &str) -> String {
        format!("receipt {} of route {}: {why}", self.receipt, self.route)
    }
}

/// A sequence gap: sequence numbers of one ingest process that no accept report covers, although a
/// report covers higher ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountGap {
    /// The ingest process that gave the numbers.
    pub instance: InstanceId,
    /// The first sequence number of the gap.
    pub first: u64,
    /// The last sequence number of the gap.
    pub last: u64,
    /// The seconds since a sequence number above the gap was first reported.
    pub seconds: u64,
}

impl AccountGap {
    /// Returns an accept report that closes the gap. It covers the sequence numbers of the gap and
    /// names no receipt.
    pub fn void(&self) -> Account {
        Account {
            instance: self.instance,
            first: self.first,
            last: self.last,
            closing: false,
            accepted: Vec::new(),
        }
    }

    /// Returns the subject of the audit row of a write-off of this gap, with its reason.
    pub fn write_off_subject(&self, why: &str) -> String {
        let Self {
            instance,
            first,
            last,
            ..
        } = self;
        format!("numbers {first} to {last} of ingest {instance}: {why}")
    }
}

/// An ingest process with receipts in the store whose sequence numbers it has not reported, because
/// it has ended or cannot reach the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unvouched {
    /// The ingest process with the unreported numbers.
    pub instance: InstanceId,
    /// The highest sequence number that the ingest has reported; 0 if none.
    pub reported: u64,
    /// The highest sequence number of this ingest process that a receipt in the store has.
    pub seen: u64,
    /// The number of sequence numbers between `reported` and `seen` for which the store has no
    /// receipt. Each of these is either void, because its publish was not confirmed, or its receipt
    /// is lost. The store cannot distinguish the two.
    pub absent: u64,
}

/// An ingest process that has not sent its closing report and has reported nothing for a long time.
/// Either it is idle, or it was killed. If it was killed, only messages in the queues show what it
/// accepted after its last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilentIngest {
    /// The ingest process that has sent no closing report.
    pub instance: InstanceId,
    /// The highest sequence number that the ingest has reported.
    pub reported: u64,
    /// The seconds since the ingest's last accept report.
    pub seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_names_what_was_written_off() {
        let instance = InstanceId::from_bytes([0x11; 16]);
        let open = OpenReceipt {
            receipt: ReceiptId::from_bytes([0x22; 16]),
            route: "scores".parse().expect("the route name must be valid"),
            instance,
            number: 7,
            seconds: 60,
            passed: false,
        };
        let gap = AccountGap {
            instance,
            first: 1,
            last: 3,
            seconds: 60,
        };
        assert_eq!(
            open.write_off_subject("the disk burned"),
            "receipt 22222222-2222-2222-2222-222222222222 of route scores: the disk burned"
        );
        assert_eq!(
            gap.write_off_subject("the disk burned"),
            "numbers 1 to 3 of ingest 11111111-1111-1111-1111-111111111111: the disk burned"
        );
    }
}
