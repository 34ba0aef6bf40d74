//! Decides which requests are sent and in which order: the first request of each event in the order
//! of the event numbers, and between these the duplicates, the conflicts and the delayed requests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::chance::{Chance, Purpose, Share, spread};
use super::events::{Event, Flaw, Kind, Version};

/// The largest delay of a request, counted in requests that are sent before it. The delay is so
/// large that some duplicates arrive while their original is in flight, and other duplicates arrive
/// after their original is settled.
const LATER_MAX: u64 = 500;

/// The shares of special events, in percent of all events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shares {
    /// The share of events whose request is sent a second time with the same bytes: about half of
    /// these requests at once, the other half later.
    pub duplicates: f64,
    /// The share of events whose body is altered after it was signed, so that the request must be
    /// refused.
    pub tampered: f64,
    /// The share of events whose signature is valid, but whose body is not JSON or violates its
    /// JSON Schema.
    pub malformed: f64,
    /// The share of events that are followed by a different body with the same identity.
    pub conflicts: f64,
    /// The share of events that are delayed, so that they arrive out of order.
    pub late: f64,
}

/// What is wrong with an event, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// The event is valid.
    Valid,
    /// The body is altered after it was signed.
    Tampered,
    /// The body has a flaw, and its signature is valid.
    Flawed(Flaw),
}

/// The role of a request among the requests about the same event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The first request about the event.
    Original,
    /// A request with the same bytes as the original.
    Duplicate,
    /// A request with a different body and the same identity.
    Conflict,
}

/// A request that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    /// The number of the event.
    pub(super) number: u32,
    pub(super) role: Role,
    /// The position of the request in the order of all requests, from 0.
    pub(super) place: u64,
}

/// What is done with one event: whether its body is altered or flawed, which requests about it are
/// sent, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) event: Event,
    pub(super) nature: Nature,
    late: Option<u64>,
    duplicate: Option<u64>,
    conflict: Option<u64>,
}

/// An iterator over all requests in their order.
pub(super) struct Plan {
    seed: u64,
    count: u32,
    shares: Shares,
    next: u32,
    place: u64,
    later: BinaryHeap<Reverse<(u64, u32, Role)>>,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Role::Original => "original",
            Role::Duplicate => "duplicate",
            Role::Conflict => "conflict",
        }
    }
}

impl Nature {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Nature::Valid => "valid",
            Nature::Tampered => "tampered",
            Nature::Flawed(_) => "malformed",
        }
    }
}

impl Shares {
    /// Returns the first error in the values of the shares as a text, or `None` if they are valid.
    pub fn mistake(&self) -> Option<&'static str> {
        let all = [
            self.duplicates,
            self.tampered,
            self.malformed,
            self.conflicts,
            self.late,
        ];
        if !all.iter().all(|share| (0.0..=100.0).contains(share)) {
            return Some("shares are percentages, from 0 to 100");
        }
        if self.tampered + self.malformed + self.conflicts > 100.0 {
            return Some(
                "tampered, malformed and conflicting events together cannot exceed 100 percent",
            );
        }
        None
    }
}

impl Fate {
    /// Returns what is done with the event that has this number.
    pub(super) fn of(seed: u64, number: u32, shares: &Shares) -> Self {
        let mut chance = Chance::new(seed, number, Purpose::Fate);
        let percent = |share| spread(seed, number, share) * 100.0;
        let roll = percent(Share::Nature);
        let (tampered, malformed) = (shares.tampered, shares.tampered + shares.malformed);
        let mut fate = Self {
            event: Event::new(seed, number, None),
            nature: Nature::Valid,
            late: None,
            duplicate: None,
            conflict: None,
        };
        if roll < tampered {
            fate.nature = Nature::Tampered;
        } else if roll < malformed {
            fate.nature = Nature::Flawed(Flaw::chosen(&mut chance));
            // Only an event about a score can have the flaws `TextScore` and `WithoutTime`, so
            // every flawed event is about a score.
            fate.event = Event::new(seed, number, Some(Kind::PsychometricScore));
        } else if roll < malformed + shares.conflicts {
            fate.conflict = Some(later(&mut chance));
            // An `application.*` event may repeat the uid of an earlier event, and the config may
            // say that both events are processed. For a score, a different body with the same uid
            // is always a conflict that becomes a dead letter. So only score events get a conflict
            // here.
            let other = [Kind::AndroidScore, Kind::IosScore];
            let kind = chance.one_of(Kind::PsychometricScore, &other);
            fate.event = Event::new(seed, number, Some(kind));
        }
        if fate.nature != Nature::Tampered && percent(Share::Duplicate) < shares.duplicates {
            fate.duplicate = Some(later(&mut chance));
        }
        if percent(Share::Late) < shares.late {
            fate.late = Some(1 + chance.below(LATER_MAX));
        }
        fate
    }

    /// Returns the bytes to sign for a request about the event in this role.
    pub(super) fn body(&self, role: Role) -> Vec<u8> {
        let version = match role {
            Role::Original | Role::Duplicate => Version::First,
            Role::Conflict => Version::Conflicting,
        };
        match self.nature {
            Nature::Valid | Nature::Tampered => self.event.body(version),
            Nature::Flawed(flaw) => self.event.flawed(flaw),
        }
    }
}

/// Returns the delay of a further request, counted in requests: 0 with probability one half,
/// otherwise a random number up to [`LATER_MAX`].
fn later(chance: &mut Chance) -> u64 {
    if chance.next() & 1 == 0 {
        0
    } else {
        1 + chance.below(LATER_MAX)
    }
}

impl Plan {
    pub(super) fn new(seed: u64, count: u32, shares: Shares) -> Self {
        Self {
            seed,
            count,
            shares,
            next: 0,
            place: 0,
            later: BinaryHeap::new(),
        }
    }

    /// Returns the number of planned requests, not counting retries.
    pub(super) fn requests(&self) -> u64 {
        let of = |number| {
            let fate = Fate::of(self.seed, number, &self.shares);
            1 + u64::from(fate.duplicate.is_some()) + u64::from(fate.conflict.is_some())
        };
        (0..self.count).map(of).sum()
    }
}

impl Iterator for Plan {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        loop {
            let due = |put_off: &Reverse<(u64, u32, Role)>| put_off.0.0 <= self.place;
            let all_begun = self.next >= self.count;
            if self
                .later
                .peek()
                .is_some_and(|first| all_begun || due(first))
            {
                let Reverse((_, number, role)) = self.later.pop()?;
                return Some(self.job(number, role));
            }
            if all_begun {
                return None;
            }
            let number = self.next;
            self.next += 1;
            let fate = Fate::of(self.seed, number, &self.shares);
            let original = self.place + fate.late.unwrap_or(0);
            for (role, after) in [
                (Role::Duplicate, fate.duplicate),
                (Role::Conflict, fate.conflict),
            ] {
                if let Some(after) = after {
                    self.later.push(Reverse((original + after, number, role)));
                }
            }
            match fate.late {
                Some(_) => {
                    self.later.push(Reverse((original, number, Role::Original)));
                }
                None => return Some(self.job(number, Role::Original)),
            }
        }
    }
}

impl Plan {
    fn job(&mut self, number: u32, role: Role) -> Job {
        let place = self.place;
        self.place += 1;
        Job {
            number,
            role,
            place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: Shares = Shares {
        duplicates: 5.0,
        tampered: 1.0,
        malformed: 1.0,
        conflicts: 0.5,
        late: 3.0,
    };

    #[test]
    fn every_event_has_one_original_and_the_copies_it_should() {
        let jobs: Vec<Job> = Plan::new(3, 20_000, SHARES).collect();
        assert_eq!(jobs.len() as u64, Plan::new(3, 20_000, SHARES).requests());
        let count = |role| jobs.iter().filter(|job| job.role == role).count();
        assert_eq!(count(Role::Original), 20_000);
        assert!(
            (970..=1_000).contains(&count(Role::Duplicate)),
            "about 5 percent of the 20,000 events must have a duplicate; tampered events have none"
        );
        assert!((98..=102).contains(&count(Role::Conflict)));
        let places: Vec<u64> = jobs.iter().map(|job| job.place).collect();
        assert_eq!(places, (0..jobs.len() as u64).collect::<Vec<_>>());
        let again: Vec<Job> = Plan::new(3, 20_000, SHARES).collect();
        assert_eq!(jobs, again, "the same seed must give the same requests");
        let other: Vec<Job> = Plan::new(4, 20_000, SHARES).collect();
        assert_ne!(jobs, other);
    }

    #[test]
    fn a_small_share_of_a_few_is_neither_none_nor_many() {
        for seed in 0..200 {
            let fates = (0..1_000).map(|number| Fate::of(seed, number, &SHARES));
            let conflicts = fates.filter(|fate| fate.conflict.is_some()).count();
            assert!(
                (3..=7).contains(&conflicts),
                "3 to 7 of 1,000 events must have a conflict: {conflicts} with seed {seed}"
            );
        }
    }

    #[test]
    fn late_means_out_of_order() {
        let numbers = |shares| -> Vec<u32> {
            let jobs = Plan::new(3, 2_000, shares);
            let originals = jobs.filter(|job| job.role == Role::Original);
            originals.map(|job| job.number).collect()
        };
        assert!(numbers(Shares::default()).is_sorted());
        let late = numbers(SHARES);
        assert!(!late.is_sorted());
        let mut sorted = late;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..2_000).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_tampered_with_is_not_sent_twice() {
        let shares = Shares {
            duplicates: 100.0,
            tampered: 50.0,
            ..Shares::default()
        };
        let jobs: Vec<Job> = Plan::new(9, 1_000, shares).collect();
        for job in jobs.iter().filter(|job| job.role == Role::Duplicate) {
            let fate = Fate::of(9, job.number, &shares);
            assert_eq!(fate.nature, Nature::Valid);
            assert_eq!(fate.body(Role::Original), fate.body(Role::Duplicate));
        }
    }

    #[test]
    fn shares_that_cannot_be() {
        assert_eq!(SHARES.mistake(), None);
        let over = Shares {
            late: 101.0,
            ..SHARES
        };
        assert!(over.mistake().is_some());
        let nan = Shares {
            late: f64::NAN,
            ..SHARES
        };
        assert!(nan.mistake().is_some());
        let too_many = Shares {
            tampered: 60.0,
            malformed: 60.0,
            ..SHARES
        };
        assert!(too_many.mistake().is_some());
    }
}
