//! The accept reports that have reached the store, and the rules that they must keep. Each ingest
//! reports its sequence numbers from 1, without a gap, and each number once. It reports a receipt
//! as accepted only if the broker confirmed it. As long as an ingest lives, it reports every
//! receipt that it answered with 200.

use std::collections::{BTreeMap, BTreeSet};

use hookbox_event::{Account, InstanceId, ReceiptId, ReportedUpTo, RouteName};

use crate::accepted::Accepted;

/// The accept reports of all instances.
#[derive(Default)]
pub(crate) struct Accounts {
    /// The reports of each instance by the first sequence number in the report.
    by_instance: BTreeMap<InstanceId, BTreeMap<u64, Account>>,
    receipts: BTreeSet<ReceiptId>,
    /// The last sequence number of each instance that has sent its closing report.
    closed: BTreeMap<InstanceId, u64>,
}

impl Accounts {
    /// Adds a report, and returns how it contradicts an earlier one, if it does.
    pub fn write(&mut self, account: &Account) -> Option<String> {
        let instance = account.instance;
        let reports = self.by_instance.entry(instance).or_default();
        if account.closing {
            self.closed.insert(instance, account.last);
        }
        if account.last >= account.first {
            match reports.get(&account.first) {
                Some(known) if known.accepted == account.accepted => {}
                Some(_) => {
                    return Some(format!(
                        "{instance} sent two reports from number {}, which list different receipts",
                        account.first
                    ));
                }
                None => {
                    reports.insert(account.first, account.clone());
                }
            }
        }
        let receipts = account.accepted.iter().flat_map(|it| &it.receipts);
        self.receipts.extend(receipts.copied());
        None
    }

    /// Returns the number of receipts that living ingests have answered 200 and not reported yet.
    pub fn unreported(&self, accepted: &[Accepted]) -> usize {
        let accepted = accepted.iter();
        accepted
            .filter(|it| !it.died.is_cancelled() && !self.receipts.contains(&it.receipt))
            .count()
    }

    /// Returns the number of reported receipts.
    pub fn receipts(&self) -> u64 {
        self.receipts.len() as u64
    }

    /// Returns the last reported sequence number of each instance, the newest instance first.
    pub fn reported(&self) -> Vec<ReportedUpTo> {
        let last = |reports: &BTreeMap<u64, Account>| reports.values().map(|it| it.last).max();
        let one = |(instance, reports): (&InstanceId, &BTreeMap<u64, Account>)| ReportedUpTo {
            instance: *instance,
            number: last(reports).unwrap_or(0),
        };
        self.by_instance.iter().rev().map(one).collect()
    }

    /// Returns the rules that the reports violate. Call it only after all reports have arrived. It
    /// gets the receipts that the broker confirmed, each with its route, and the sequence number of
    /// each receipt in the store.
    pub fn check(
        &self,
        confirmed: &BTreeSet<(RouteName, ReceiptId)>,
        numbers: impl Iterator<Item = (ReceiptId, InstanceId, u64)>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        for (instance, reports) in &self.by_instance {
            let mut next = 1;
            for account in reports.values() {
                if account.first != next {
                    found.push(format!(
                        "I2: {instance} reported from number {} after a report up to number {}",
                        account.first,
                        next - 1
                    ));
                }
                next = account.last + 1;
                found.extend(unconfirmed(account, confirmed));
            }
        }
        found.extend(self.numbers(numbers));
        found
    }

    /// Returns the violations that the real store drivers detect as imbalances: a receipt whose
    /// sequence number is above the last number of a closed instance, and two receipts with the
    /// same sequence number.
    fn numbers(&self, numbers: impl Iterator<Item = (ReceiptId, InstanceId, u64)>) -> Vec<String> {
        let mut found = Vec::new();
        let mut by_number = BTreeMap::new();
        for (receipt, instance, number) in numbers {
            if by_number
                .insert((instance, number), receipt)
                .is_some_and(|it| it != receipt)
            {
                found.push(format!(
                    "I2: two receipts have sequence number {number} of {instance}"
                ));
            }
            if self
                .closed
                .get(&instance)
                .is_some_and(|last| number > *last)
            {
                found.push(format!(
                    "I2: a receipt of {instance} has sequence number {number}, which is above the \
                     last number of its closing report"
                ));
            }
        }
        found
    }
}

fn unconfirmed(account: &Account, confirmed: &BTreeSet<(RouteName, ReceiptId)>) -> Vec<String> {
    let mut found = Vec::new();
    for run in &account.accepted {
        for route in &run.routes {
            for receipt in &run.receipts {
                if !confirmed.contains(&(route.clone(), *receipt)) {
                    found.push(format!(
                        "I5: {receipt} is reported as accepted, but the queue of {route} did not \
                         confirm it"
                    ));
                }
            }
        }
    }
    found
}
