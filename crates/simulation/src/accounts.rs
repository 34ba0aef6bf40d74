//! The accounts that have reached the store, and what must hold of them: each instance tells of
//! its numbers from 1 and without a gap, tells each once, tells only what was confirmed, and, as
//! long as it lives, tells of everything that it has answered 200.

use std::collections::{BTreeMap, BTreeSet};

use hookbox_event::{Account, InstanceId, ReceiptId, ReportedUpTo};

use crate::world::State;

/// What every instance has told.
#[derive(Default)]
pub(crate) struct Accounts {
    /// By the first number of each.
    by_instance: BTreeMap<InstanceId, BTreeMap<u64, Account>>,
    told: BTreeSet<ReceiptId>,
    /// The last number of each that has closed.
    closed: BTreeMap<InstanceId, u64>,
}

impl Accounts {
    /// One has come; what contradicts those before it.
    pub fn write(&mut self, account: &Account) -> Option<String> {
        let instance = account.instance;
        let told = self.by_instance.entry(instance).or_default();
        if account.closing {
            self.closed.insert(instance, account.last);
        }
        if account.last >= account.first {
            match told.get(&account.first) {
                Some(known) if known.accepted == account.accepted => {}
                Some(_) => {
                    return Some(format!("{instance} tells twice of {}", account.first));
                }
                None => {
                    told.insert(account.first, account.clone());
                }
            }
        }
        let receipts = account.accepted.iter().flat_map(|it| &it.receipts);
        self.told.extend(receipts.copied());
        None
    }

    /// How many receipts a living ingest has answered 200 and not told of yet.
    pub fn untold(&self, state: &State) -> usize {
        let accepted = state.accepted.iter();
        accepted
            .filter(|it| !it.by.is_dead() && !self.told.contains(&it.receipt))
            .count()
    }

    /// How many receipts were told of.
    pub fn receipts(&self) -> u64 {
        self.told.len() as u64
    }

    /// How far each instance has told, the newest first.
    pub fn reported(&self) -> Vec<ReportedUpTo> {
        let last = |told: &BTreeMap<u64, Account>| told.values().map(|it| it.last).max();
        let one = |(instance, told): (&InstanceId, &BTreeMap<u64, Account>)| ReportedUpTo {
            instance: *instance,
            number: last(told).unwrap_or(0),
        };
        self.by_instance.iter().rev().map(one).collect()
    }

    /// What does not hold, once all that was sent has come.
    pub fn check(&self, state: &State) -> Vec<String> {
        let mut found = Vec::new();
        for (instance, told) in &self.by_instance {
            let mut next = 1;
            for account in told.values() {
                if account.first != next {
                    found.push(format!(
                        "I2: {instance} has told of {} after {}",
                        account.first,
                        next - 1
                    ));
                }
                next = account.last + 1;
                found.extend(unconfirmed(account, state));
            }
        }
        found.extend(self.numbers(state));
        found
    }

    /// What the stores call imbalances of numbers: a receipt beyond the last number of an instance
    /// that has closed, and two receipts with one number.
    fn numbers(&self, state: &State) -> Vec<String> {
        let mut found = Vec::new();
        let mut by_number = BTreeMap::new();
        for ((_, receipt), kept) in &state.tables.receipts {
            let (instance, number) = (kept.envelope.instance, kept.envelope.number);
            if by_number
                .insert((instance, number), *receipt)
                .is_some_and(|it| it != *receipt)
            {
                found.push(format!(
                    "I2: two receipts have number {number} of {instance}"
                ));
            }
            if self
                .closed
                .get(&instance)
                .is_some_and(|last| number > *last)
            {
                found.push(format!(
                    "I2: {instance} has closed before its number {number}"
                ));
            }
        }
        found
    }
}

fn unconfirmed(account: &Account, state: &State) -> Vec<String> {
    let mut found = Vec::new();
    for run in &account.accepted {
        for route in &run.routes {
            for receipt in &run.receipts {
                let confirmed = &state.queues.confirmed;
                if !confirmed.contains(&(route.clone(), *receipt)) {
                    found.push(format!(
                        "I5: {receipt} is told of as accepted, and {route} did not confirm it"
                    ));
                }
            }
        }
    }
    found
}
