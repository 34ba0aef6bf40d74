//! What is sent, and in which order: the originals by their number, and among them the copies, the
//! conflicts and the late ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::chance::{Chance, Purpose, Share, spread};
use super::events::{Event, Flaw, Kind, Version};

/// Furthest place, counted in requests, to which a request is delayed. Large enough that a copy
/// finds its original both settled and in flight.
const LATER_MAX: u64 = 500;

/// Shares of all events, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shares {
    /// Sent a second time, the same bytes: half of them at once, half later.
    pub duplicates: f64,
    /// Altered after signing.
    pub tampered: f64,
    /// Signed, and not JSON or breaking their schema.
    pub malformed: f64,
    /// Followed by another body under the same identity.
    pub conflicts: f64,
    /// Delayed, so that they arrive out of order.
    pub late: f64,
}

/// The nature of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Valid.
    Valid,
    /// Altered after signing.
    Tampered,
    /// Genuine and broken.
    Flawed(Flaw),
}

/// Which request about an event this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The first.
    Original,
    /// The same bytes again.
    Duplicate,
    /// Another body under the same identity.
    Conflict,
}

/// One request to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    /// The number of its event.
    pub(super) number: u32,
    pub(super) role: Role,
    /// Its place in the order of all requests, from 0.
    pub(super) place: u64,
}

/// What is done with one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) event: Event,
    pub(super) nature: Nature,
    late: Option<u64>,
    duplicate: Option<u64>,
    conflict: Option<u64>,
}

/// The order of all requests.
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
    /// The first mistake in the shares, if there is one.
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
    /// What is done with the event of a number.
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
            // Only a score can have a score that is a text.
            fate.event = Event::new(seed, number, Some(Kind::PsychometricScore));
        } else if roll < malformed + shares.conflicts {
            fate.conflict = Some(later(&mut chance));
            // Begini's applications may occur twice under one uid; a score may not, so only a
            // score's conflict ends as a dead letter whatever the config has for applications.
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

    /// The bytes that are signed for a request about it.
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

/// At once or later, with equal probability.
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

    /// How many requests it has in all, retries aside.
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
            "tampered ones are not"
        );
        assert!((98..=102).contains(&count(Role::Conflict)));
        let places: Vec<u64> = jobs.iter().map(|job| job.place).collect();
        assert_eq!(places, (0..jobs.len() as u64).collect::<Vec<_>>());
        let again: Vec<Job> = Plan::new(3, 20_000, SHARES).collect();
        assert_eq!(jobs, again, "the seed decides");
        let other: Vec<Job> = Plan::new(4, 20_000, SHARES).collect();
        assert_ne!(jobs, other);
    }

    #[test]
    fn a_small_share_of_a_few_is_neither_none_nor_many() {
        for seed in 0..200 {
            let fates = (0..1_000).map(|number| Fate::of(seed, number, &SHARES));
            let conflicts = fates.filter(|fate| fate.conflict.is_some()).count();
            assert!((3..=7).contains(&conflicts), "{conflicts} with seed {seed}");
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
