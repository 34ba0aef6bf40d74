//! Evaluates the accounting: which receipts are missing, what is still in progress, and which
//! contradictions there are.

use std::time::Duration;

use hookbox_driver::{AccountGap, Mismatch, OpenReceipt, SilentIngest, receipts_gone};

use super::reconcile_report::{
    OutcomeCounts, QueueContents, ReconcileReport, RouteLine, Storage, Verdict,
};
use super::unknown::Unknown;
use crate::Source;

/// The age at which a receipt without an outcome is overdue. It is far longer than any handler may
/// run and any worker pauses a route. A receipt that still waits in its queue is never overdue.
pub const OVERDUE: Duration = Duration::from_secs(600);

/// For brokers that do not report messages in flight: how long a worker that has lost its
/// connection to the store may keep a message in flight. RabbitMQ redelivers such a message after
/// 30 minutes (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>). It checks for
/// that once a minute. The remaining four minutes are a margin.
pub const IN_FLIGHT_MAX: Duration = Duration::from_secs(35 * 60);

/// The shortest time for which the accounting must stay unchanged before `reconcile` concludes that
/// nothing is in flight. (No time is needed if the broker counts messages in flight and every
/// reported receipt has its outcome.) Three seconds suffice: an ingest reports each receipt within
/// a second. So within this time, a receipt in flight shows in the accounting as a receipt without
/// an outcome.
const STILL_FOR: Duration = Duration::from_secs(3);

impl ReconcileReport {
    /// Determines the missing receipts and the verdict.
    pub(super) fn conclude(&mut self) {
        let missing = match &self.accept_reports {
            Some(accounts) => {
                let open = accounts.receipts.iter();
                let missing = open.filter(|it| self.at_rest || self.is_lost(it));
                missing.cloned().collect()
            }
            None => Vec::new(),
        };
        if let Some(accounts) = &mut self.accept_reports {
            accounts.missing = missing;
        }
        self.unknown = self.find_unknown();
        self.verdict = self.classify();
    }

    /// Lists the questions that `reconcile` cannot answer.
    fn find_unknown(&self) -> Vec<Unknown> {
        let unvouched = self.accept_reports.iter().flat_map(|it| &it.unvouched);
        let is_named = |silent: &&SilentIngest| {
            let mut unvouched = unvouched.clone();
            unvouched.any(|it| it.instance == silent.instance)
        };
        let gaps = self.young_gaps().cloned().map(Unknown::YoungGap);
        let unreported = unvouched.clone().cloned().map(Unknown::Unreported);
        let silent = self.silent.iter().filter(|it| !is_named(it));
        let silent = silent.cloned().map(Unknown::SilentIngest);
        let file = (self.storage == Storage::OneFile).then_some(Unknown::RestoredFile);
        gaps.chain(unreported).chain(silent).chain(file).collect()
    }

    fn classify(&self) -> Verdict {
        let short = self.routes.iter().any(|line| line.short() > 0);
        let wrong = !self.imbalances.is_empty() || self.gaps() > 0 || self.missing() > 0 || short;
        if wrong || self.mismatch().is_some() {
            Verdict::Imbalanced
        } else if !self.problems.is_empty() {
            Verdict::Unknown
        } else if self.moves() || self.open() > 0 || self.young_gaps().next().is_some() {
            Verdict::Moving
        } else {
            Verdict::Balanced
        }
    }

    /// Returns how many receipts were answered 200 and have no outcome.
    fn open(&self) -> u64 {
        self.accept_reports
            .as_ref()
            .map_or(0, |accounts| accounts.open)
    }

    /// Returns how many receipts without an outcome are missing. If nothing is in flight any more,
    /// all receipts without an outcome are missing.
    pub(crate) fn missing(&self) -> u64 {
        let named = self
            .accept_reports
            .as_ref()
            .map_or(0, |it| it.missing.len());
        if self.at_rest {
            self.open()
        } else {
            named as u64
        }
    }

    /// Returns whether a receipt is missing, even if other receipts may be in flight. A missing
    /// receipt is overdue. In addition, either later receipts of its route already have outcomes,
    /// or no queue holds a message that could contain the receipt. Unless it is known that no
    /// message is in flight, the receipt must also be older than any message in flight: a worker
    /// that has lost its connection to the store keeps its messages while another worker settles
    /// later ones.
    fn is_lost(&self, open: &OpenReceipt) -> bool {
        let of_route = |line: &&RouteLine| line.route == open.route.as_str();
        let route = self.routes.iter().find(of_route);
        // A route that was removed from the config has no queue, so only the dead-letter queue
        // counts for it. If the broker does not answer, `dead_queue` is `None`, and nothing is
        // known. If the spool could not be read, the receipt may wait in it.
        let queues = route.and_then(|it| it.broker.as_ref()).into_iter();
        let queues: Vec<&QueueContents> = queues.chain(&self.dead_queue).collect();
        let is_known = self.dead_queue.is_some() && !self.lacks_the_spool();
        let nothing_flies = is_known && queues.iter().all(|it| it.in_flight == Some(0));
        let nothing_waits = is_known && queues.iter().all(|it| it.is_empty());
        let least = if nothing_flies {
            OVERDUE
        } else {
            IN_FLIGHT_MAX.saturating_add(self.waits_for_rate)
        };
        open.seconds >= least.as_secs() && (open.passed || nothing_waits)
    }

    /// Returns whether the spool of this machine could not be read, so that the queues may hold
    /// more than the report shows.
    fn lacks_the_spool(&self) -> bool {
        let mut sources = self.problems.iter().map(|it| it.source);
        sources.any(|source| source == Source::Spool)
    }

    /// Returns whether the broker and the store could be read, and the spool of this machine could
    /// not.
    pub(crate) fn lacks_only_the_spool(&self) -> bool {
        let mut sources = self.problems.iter().map(|it| it.source);
        self.lacks_the_spool() && sources.all(|source| source == Source::Spool)
    }

    /// Returns how many sequence gaps will never be filled. Young gaps are not counted, because
    /// accept reports may arrive in another order than their sequence numbers and fill a gap late.
    pub(crate) fn gaps(&self) -> usize {
        self.sure_gaps().count()
    }

    /// Returns the sequence gaps that are so old that no accept report will fill them any more.
    pub(crate) fn sure_gaps(&self) -> impl Iterator<Item = &AccountGap> {
        self.gaps_that(true)
    }

    /// Returns the sequence gaps that are so young that an accept report may still fill them.
    pub(super) fn young_gaps(&self) -> impl Iterator<Item = &AccountGap> {
        self.gaps_that(false)
    }

    /// Returns the contradiction of store and broker, if any.
    pub(crate) fn mismatch(&self) -> Option<&Mismatch> {
        self.witness.as_ref()?.mismatch.as_ref()
    }

    fn gaps_that(&self, are_sure: bool) -> impl Iterator<Item = &AccountGap> {
        let none_comes = self.accept_report_queue.as_ref().is_some_and(|queue| {
            queue.ready == Some(0) && (self.at_rest || queue.in_flight == Some(0))
        });
        let gaps = self.accept_reports.iter().flat_map(|it| &it.gaps);
        let is_sure = move |gap: &AccountGap| none_comes || gap.seconds >= OVERDUE.as_secs();
        gaps.filter(move |gap| is_sure(gap) == are_sure)
    }

    fn moves(&self) -> bool {
        let retrying = |line: &RouteLine| line.store.as_ref().is_some_and(|s| s.retrying > 0);
        self.routes.iter().any(retrying) || self.queues().any(|queue| !queue.is_empty())
    }

    fn queues(&self) -> impl Iterator<Item = &QueueContents> {
        let routes = self.routes.iter().filter_map(|line| line.broker.as_ref());
        let others = self.dead_queue.iter().chain(&self.accept_report_queue);
        routes.chain(others)
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.problems.is_empty() && !self.moves() && self.young_gaps().next().is_none()
    }

    /// Returns whether every queue is empty. Events that wait for a retry do not matter here,
    /// because they have an outcome, so their receipts cannot be missing.
    pub(super) fn is_quiet(&self) -> bool {
        self.problems.is_empty() && self.queues().all(QueueContents::is_empty)
    }

    /// Returns after how many seconds without a change the receipts without an outcome count as
    /// missing. `None` when there are no such receipts, or when a queue is not empty and may hold
    /// them.
    pub(super) fn missing_after(&self, in_flight_max: Duration) -> Option<u64> {
        let is_open = self.open() > 0 && self.is_quiet();
        is_open.then(|| self.still_for(in_flight_max).as_secs())
    }

    /// Returns for how long the accounting must stay unchanged before it is certain that nothing is
    /// in flight. A message in flight waits in no queue, and has no outcome in the store yet. If
    /// the broker does not count such messages, they show only later, as a change of the
    /// accounting.
    pub(super) fn still_for(&self, in_flight_max: Duration) -> Duration {
        let is_known = self.queues().all(|queue| queue.in_flight.is_some());
        match (self.open(), is_known) {
            (0, true) => Duration::ZERO,
            // A receipt may be in flight that no ingest has reported yet, or a reported receipt may
            // get its outcome in a moment. Either would change the accounting, so it must stay
            // unchanged for a short time.
            (0, false) | (1.., true) => STILL_FOR,
            (1.., false) => in_flight_max
                .saturating_add(self.waits_for_rate)
                .max(STILL_FOR),
        }
    }

    /// Returns whether a receipt without an outcome is open now that was not open in an earlier
    /// report. If the earlier report did not list all of them, their numbers are compared.
    pub(super) fn opens_more_than(&self, before: &Self) -> bool {
        let more = self.routes.iter().any(|line| {
            let of_route = |it: &&RouteLine| it.route == line.route;
            let open = before.routes.iter().find(of_route).and_then(|it| it.open);
            line.open.unwrap_or(0) > open.unwrap_or(0)
        });
        let listed = |report: &Self| -> Vec<OpenReceipt> {
            let accounts = report.accept_reports.iter();
            accounts.flat_map(|it| it.receipts.clone()).collect()
        };
        let (now, earlier) = (listed(self), listed(before));
        let is_new = |it: &OpenReceipt| {
            let is_same = |old: &&OpenReceipt| (old.receipt, &old.route) == (it.receipt, &it.route);
            !earlier.iter().any(|old| is_same(&old))
        };
        let are_all_listed = before.open() == earlier.len() as u64;
        more || (are_all_listed && now.iter().any(is_new))
    }

    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let settled = |report: &Self| -> Vec<(String, Option<OutcomeCounts>)> {
            let of = |line: &RouteLine| (line.route.clone(), line.store.clone());
            report.routes.iter().map(of).collect()
        };
        let open = |report: &Self| -> Vec<_> {
            let accounts = report.accept_reports.iter();
            let receipts = accounts.flat_map(|it| it.receipts.iter());
            receipts.map(|it| (it.receipt, it.route.clone())).collect()
        };
        self.is_quiet() == other.is_quiet()
            && settled(self) == settled(other)
            && (self.open(), open(self)) == (other.open(), open(other))
    }
}

impl RouteLine {
    /// Returns how many receipts of the route are gone: see [`receipts_gone`].
    pub(crate) fn short(&self) -> u64 {
        let (Some(reported), Some(open), Some(store)) = (self.reported, self.open, &self.store)
        else {
            return 0;
        };
        receipts_gone(
            reported,
            store.receipts,
            open,
            self.written_off.unwrap_or(0),
        )
    }
}
