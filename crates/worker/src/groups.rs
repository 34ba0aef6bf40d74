//! Which events of a failed batch run together again, each group in its own transaction, and which
//! run alone. This file decides after failures that end the transaction of the batch. If the
//! transaction can continue, `parts` decides.
//!
//! An event that is known to have failed runs alone later, and the others run together again. Where
//! it is not known which event failed, the batch is halved, and its halves are halved again, until
//! the event runs alone. Only a failure of an event that runs alone counts as an attempt: in a
//! batch the cause may be what another event wrote or left behind, and the handler may have named
//! the wrong event.

use hookbox_event::{Envelope, ReceiptId};

/// After this many failed runs of a batch and its parts, each remaining event runs alone. Halving
/// finds two failing events among 64 with at most eleven failed runs. If more events fail, further
/// failed runs would cost more than a transaction for each event.
pub(crate) const FAILED_RUNS_MAX: usize = 16;

/// The groups of a batch that still have to run.
pub(crate) struct Groups<'e> {
    waiting: Vec<Vec<&'e Envelope>>,
    alone: Vec<&'e Envelope>,
    /// How many runs have failed, including those after which a transaction continued.
    pub failed_runs: usize,
}

impl<'e> Groups<'e> {
    pub fn of(events: &[&'e Envelope]) -> Self {
        Self {
            waiting: vec![events.to_vec()],
            alone: Vec::new(),
            failed_runs: 0,
        }
    }

    /// Returns the next group that runs in one transaction. It has at least two events.
    pub fn next(&mut self) -> Option<Vec<&'e Envelope>> {
        while let Some(group) = self.waiting.pop() {
            if group.len() > 1 && self.failed_runs < FAILED_RUNS_MAX {
                return Some(group);
            }
            self.alone.extend(group);
        }
        None
    }

    /// Records that one event of the group has failed: it runs alone, and the others run together
    /// again.
    pub fn take_out(&mut self, mut group: Vec<&'e Envelope>, failed: &ReceiptId) {
        match group.iter().position(|it| it.receipt == *failed) {
            Some(at) => {
                self.failed_runs += 1;
                self.alone.push(group.remove(at));
                self.waiting.push(group);
            }
            None => self.halve(group),
        }
    }

    /// Splits a group in which an unknown event has failed. Both halves of the group run again, the
    /// first half first.
    pub fn halve(&mut self, mut group: Vec<&'e Envelope>) {
        self.failed_runs += 1;
        let second = group.split_off(group.len() / 2);
        self.waiting.push(second);
        self.waiting.push(group);
    }

    /// Adds those events of the group that have left its transaction to those that run alone.
    pub fn add_left(&mut self, group: &[&'e Envelope], left: &[ReceiptId]) {
        let is_left = |it: &&&Envelope| left.contains(&it.receipt);
        self.alone.extend(group.iter().filter(is_left));
    }

    /// Adds the events of the group to those that run alone.
    pub fn separate(&mut self, group: Vec<&'e Envelope>) {
        self.alone.extend(group);
    }

    /// Returns the events that run alone, after all groups have run.
    pub fn into_alone(self) -> Vec<&'e Envelope> {
        self.alone
    }
}

#[cfg(test)]
mod tests {
    use hookbox_event::{ContentDigest, Digester, EventId, InstanceId, Timestamp};

    use super::*;

    fn envelope(number: u8) -> Envelope {
        Envelope {
            receipt: ReceiptId::from_bytes([number; 16]),
            source: "begini".parse().expect("the name must be valid"),
            topic: "begini.score".parse().expect("the topic must be valid"),
            event: EventId::from_bytes([number; 16]),
            id_tail: None,
            digest: ContentDigest::of_raw_body(&Digester::Plain, b"{}"),
            received_at: Timestamp::from_unix_micros(0),
            key_id: "one".to_owned(),
            instance: InstanceId::from_bytes([1; 16]),
            number: 1,
            seal: None,
            traceparent: None,
            redo: None,
            body: b"{}"[..].into(),
        }
    }

    /// Runs a batch in which some events fail. Returns the sizes of the groups that ran, and the
    /// events that are left to run alone.
    fn ran(count: u8, failing: &[u8], is_named: bool) -> (Vec<usize>, Vec<u8>) {
        let envelopes: Vec<Envelope> = (0..count).map(envelope).collect();
        let mut groups = Groups::of(&envelopes.iter().collect::<Vec<_>>());
        let mut sizes = Vec::new();
        let number = |it: &&Envelope| it.receipt.as_bytes()[0];
        let mut done = Vec::new();
        while let Some(group) = groups.next() {
            sizes.push(group.len());
            let failed = group.iter().find(|it| failing.contains(&number(it)));
            match failed.map(|it| it.receipt) {
                None => done.extend(group.iter().map(number)),
                Some(receipt) if is_named => groups.take_out(group, &receipt),
                Some(_) => groups.halve(group),
            }
        }
        let alone: Vec<u8> = groups.into_alone().iter().map(number).collect();
        let mut all = [done, alone.clone()].concat();
        all.sort_unstable();
        assert_eq!(
            all,
            (0..count).collect::<Vec<_>>(),
            "each event must run alone or succeed in a group, and only once"
        );
        (sizes, alone)
    }

    #[test]
    fn a_named_event_runs_alone_and_the_others_together() {
        assert_eq!(ran(64, &[], true), (vec![64], vec![]));
        assert_eq!(ran(64, &[40], true), (vec![64, 63], vec![40]));
        assert_eq!(ran(64, &[40, 7], true), (vec![64, 63, 62], vec![7, 40]));
        assert_eq!(ran(2, &[0], true), (vec![2], vec![0, 1]));
        assert_eq!(ran(1, &[], true), (vec![], vec![0]));
    }

    #[test]
    fn an_event_that_is_not_named_is_found_by_halves() {
        let (sizes, alone) = ran(64, &[39], false);
        assert_eq!(sizes, [64, 32, 32, 16, 8, 4, 4, 2, 2, 8, 16]);
        assert_eq!(alone, [38, 39]);
        let (sizes, alone) = ran(64, &[0, 63], false);
        assert_eq!((sizes.len(), alone), (19, vec![0, 1, 62, 63]));
    }

    #[test]
    fn a_batch_that_keeps_failing_is_separated() {
        let all: Vec<u8> = (0..64).collect();
        for is_named in [true, false] {
            let (sizes, alone) = ran(64, &all, is_named);
            assert_eq!(sizes.len(), FAILED_RUNS_MAX);
            assert_eq!(alone.len(), 64);
        }
    }

    #[test]
    fn a_failed_event_that_is_not_in_the_group_is_found_by_halves() {
        let envelopes: Vec<Envelope> = (0..4).map(envelope).collect();
        let mut groups = Groups::of(&envelopes.iter().collect::<Vec<_>>());
        let group = groups.next().expect("there must be a group");
        groups.take_out(group, &ReceiptId::from_bytes([9; 16]));
        assert_eq!(groups.next().map(|it| it.len()), Some(2));
    }
}
