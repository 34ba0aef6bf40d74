//! Computes the expected outcomes: for each event, which rows in the store its accepted requests
//! must lead to.

use std::collections::BTreeMap;

use hookbox_event::{SourceName, Topic};
use serde::Serialize;

use super::events::Flaw;
use super::plan::{Fate, Nature, Role, Shares};
use super::sender::{End, SentRequest};

/// How many receipts must have which outcome once all events are processed. The numbers hold only
/// if the handler never fails and the source has the preset of Begini, because other sources have
/// no JSON Schema that a malformed body would violate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// All receipts: the requests that were answered with 200.
    pub receipts: u64,
    /// Receipts with outcome done: one for each distinct valid event. If the event was sent with
    /// two bodies, it is a receipt of the body that a worker processes first.
    pub done: u64,
    /// Receipts with outcome duplicate: all but the first receipt of the same body.
    pub duplicate: u64,
    /// Receipts with outcome conflict: the first receipt of an event's second, different body.
    pub conflict: u64,
    /// Receipts that become dead letters, because their body is signed but malformed, by the reason
    /// of the dead letter.
    pub dead: BTreeMap<&'static str, u64>,
}

/// The counts over all events of a run.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) total: Expected,
    pub(super) by_topic: BTreeMap<String, Expected>,
    /// Events of which at least one body was accepted.
    pub(super) distinct: u64,
    /// Requests that were given up without a conclusive answer and that may have been stored.
    pub(super) unconfirmed: u64,
    /// Requests that were given up and that were certainly not stored.
    pub(super) undelivered: u64,
    /// Altered requests that were accepted, which is a mistake of the receiver.
    pub(super) wrongly_accepted: u64,
    /// Genuine requests that were refused, which is a mistake of the receiver or a wrong key.
    pub(super) wrongly_refused: u64,
    /// Altered requests that were refused, as they must be.
    pub(super) rightly_refused: u64,
}

/// Adds up the expected outcomes of the requests that were sent.
pub(super) fn sum_up(
    sent: &mut [SentRequest],
    seed: u64,
    shares: &Shares,
    source: &SourceName,
) -> Sum {
    sent.sort_unstable_by_key(|sent| (sent.number, sent.role));
    let mut sum = Sum::default();
    for event in sent.chunk_by(|a, b| a.number == b.number) {
        if let Some(first) = event.first() {
            sum.add(event, &Fate::of(seed, first.number, shares), source);
        }
    }
    sum
}

impl Sum {
    fn add(&mut self, event: &[SentRequest], fate: &Fate, source: &SourceName) {
        let genuine = fate.nature != Nature::Tampered;
        let (mut same, mut other) = (0, 0);
        for sent in event {
            match (sent.end, genuine) {
                (End::Accepted, false) => self.wrongly_accepted += 1,
                (End::Accepted, true) => match sent.role {
                    Role::Original | Role::Duplicate => same += 1,
                    Role::Conflict => other += 1,
                },
                (End::Refused, true) => self.wrongly_refused += 1,
                (End::Refused, false) => self.rightly_refused += 1,
                (End::GaveUp { maybe: true }, _) => self.unconfirmed += 1,
                (End::GaveUp { maybe: false }, _) => self.undelivered += 1,
            }
        }
        if same + other == 0 {
            return;
        }
        self.distinct += 1;
        let by_topic = self.by_topic.entry(topic(fate, source)).or_default();
        for expected in [&mut self.total, by_topic] {
            expected.add(fate.nature, same, other);
        }
    }
}

impl Expected {
    /// Counts one event with `same` receipts of its original body and `other` receipts of its
    /// conflicting body. The body that a worker processes first has outcome done; the other body is
    /// the conflict.
    fn add(&mut self, nature: Nature, same: u64, other: u64) {
        let versions = u64::from(same > 0) + u64::from(other > 0);
        self.receipts += same + other;
        self.duplicate += same + other - versions;
        match nature {
            Nature::Valid | Nature::Tampered => {
                self.done += 1;
                self.conflict += versions - 1;
            }
            Nature::Flawed(flaw) => *self.dead.entry(reason(flaw)).or_default() += 1,
        }
    }

    /// Adds the counts of `other` to these counts.
    pub(super) fn merge(&mut self, other: &Self) {
        self.receipts += other.receipts;
        self.done += other.done;
        self.duplicate += other.duplicate;
        self.conflict += other.conflict;
        for (reason, count) in &other.dead {
            *self.dead.entry(reason).or_default() += count;
        }
    }
}

/// Returns the topic that ingest gives to the event. A body that is not JSON has no event type.
fn topic(fate: &Fate, source: &SourceName) -> String {
    let kind = match fate.nature {
        Nature::Flawed(Flaw::CutShort) => None,
        Nature::Valid | Nature::Tampered | Nature::Flawed(_) => Some(fate.event.kind.as_str()),
    };
    Topic::of(source, kind).to_string()
}

fn reason(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::CutShort => "malformed",
        Flaw::WithoutUid | Flaw::NumericUid | Flaw::TextScore | Flaw::WithoutTime => {
            "schema_broken"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the expected outcomes of event 0 after the requests in `sent`: the numbers of done,
    /// duplicate, conflict and dead.
    fn check(shares: Shares, sent: &[(Role, End)], expect: (u64, u64, u64, u64)) {
        let mut sent: Vec<SentRequest> = sent
            .iter()
            .map(|(role, end)| SentRequest {
                number: 0,
                role: *role,
                end: *end,
            })
            .collect();
        let source = "begini".parse().expect("a name");
        let sum = sum_up(&mut sent, 5, &shares, &source);
        let total = sum.total;
        let dead = total.dead.values().sum::<u64>();
        let found = (total.done, total.duplicate, total.conflict, dead);
        assert_eq!(found, expect, "{sent:?}");
        assert_eq!(total.receipts, expect.0 + expect.1 + expect.2 + expect.3);
    }

    #[test]
    fn each_accepted_request_has_one_outcome() {
        use Role::{Conflict, Duplicate, Original};
        let lost = End::GaveUp { maybe: true };
        let valid = Shares::default();
        let yes = End::Accepted;
        check(valid, &[(Original, yes)], (1, 0, 0, 0));
        check(valid, &[(Original, yes), (Duplicate, yes)], (1, 1, 0, 0));
        check(valid, &[(Original, lost), (Duplicate, yes)], (1, 0, 0, 0));
        check(valid, &[(Original, lost)], (0, 0, 0, 0));
        let three = [(Original, yes), (Duplicate, yes), (Conflict, yes)];
        check(valid, &three, (1, 1, 1, 0));
        check(valid, &[(Original, lost), (Conflict, yes)], (1, 0, 0, 0));
        let malformed = Shares {
            malformed: 100.0,
            ..Shares::default()
        };
        check(
            malformed,
            &[(Original, yes), (Duplicate, yes)],
            (0, 1, 0, 1),
        );
        let tampered = Shares {
            tampered: 100.0,
            ..Shares::default()
        };
        check(tampered, &[(Original, End::Refused)], (0, 0, 0, 0));
    }
}
