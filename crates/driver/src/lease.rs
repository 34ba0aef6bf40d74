//! Leases: an external call is made for an event, and the store keeps the event meanwhile.
//!
//! A call over the network must not run inside a transaction of the database. So a transaction
//! commits a lease, and then the message is acknowledged. The event waits for the same attempt
//! until its lease ends. The process that makes the call records how the call ended. If the process
//! dies, the lease ends by itself, and the event is due again under the next lease.

use std::time::Duration;

use hookbox_event::{ContentDigest, Envelope, Timestamp};

use crate::{NoPermit, TargetLimits, TargetName, TargetState, WaitingAttempt};

/// The conditions under which events of a route get leases.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTerms<'a> {
    /// The target that the calls go to.
    pub target: &'a TargetName,
    /// How many calls all workers together may make to the target.
    pub limits: TargetLimits,
    /// How long a lease lasts by the store's clock, counted from a moment after the call of
    /// [`crate::Store::lease`]. It is longer than the call's total limit, so that two calls for one
    /// event never overlap.
    pub length: Duration,
    /// How many leases of one attempt may end without an outcome. After that, the event gets no
    /// further lease.
    pub lost_max: u32,
}

/// An event that the transaction has claimed as `Fresh` or `Granted`, and that is to be leased.
#[derive(Debug, Clone, Copy)]
pub struct LeaseWish<'a> {
    /// The receipt with which the event arrived.
    pub envelope: &'a Envelope,
    /// The number of the attempt that was claimed.
    pub attempt: u32,
    /// The number of attempts made before the last replay of the event, as the claim returned it.
    pub attempts_before: u32,
    /// The digest of this receipt's body, if the event is stored with another body and its source
    /// has `on_conflict = "duplicate"`; otherwise `None`.
    pub other_digest: Option<ContentDigest>,
}

/// What is stored of an event whose lease is wanted.
#[derive(Debug, Clone, Copy)]
pub struct LeaseClaim {
    /// The number of the attempt that was claimed.
    pub attempt: u32,
    /// The attempt for which the event waited before the claim; `None` for a first attempt.
    pub waiting: Option<WaitingAttempt>,
    /// The leases of the event on the route.
    pub leases: Leases,
}

/// The answer to the wish for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leased {
    /// The event is leased as soon as the transaction is committed: then make the call.
    Granted {
        /// The number of the lease. It is higher than that of every earlier lease of the event on
        /// the route, in all attempts and rounds.
        epoch: u32,
        /// The number of the effect that the call has; see [`Leases::effect`].
        effect: u32,
    },
    /// All leases that this attempt may have were given, and have ended without an outcome. The
    /// claim is unchanged: settle it as a dead letter.
    Lost {
        /// The number of leases that have ended without an outcome.
        leases: u32,
    },
    /// No call may be made to the target now. The claim is unchanged: withdraw it.
    Refused(NoPermit),
}

impl Leased {
    /// Returns whether the wish gets a lease.
    pub fn is_granted(self) -> bool {
        match self {
            Leased::Granted { .. } => true,
            Leased::Lost { .. } | Leased::Refused(_) => false,
        }
    }
}

/// Returns those wishes that get a lease, in the order given, each with the [`Leases`] that a store
/// then records for its event. `allotted` is what [`LeaseTerms::allot`] has returned for these
/// wishes.
pub fn granted_leases<W>(
    wishes: impl IntoIterator<Item = W>,
    allotted: &[(Leased, Leases)],
) -> impl Iterator<Item = (W, Leases)> {
    let granted = |(wish, (leased, leases)): (W, &(Leased, Leases))| {
        leased.is_granted().then_some((wish, *leases))
    };
    wishes.into_iter().zip(allotted).filter_map(granted)
}

/// What is stored of the leases of an event on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leases {
    /// The number of the last lease; 0 if there was none.
    pub epoch: u32,
    /// How many leases of the attempt for which the event waits have no outcome: they have ended
    /// without one, or have not ended yet.
    pub without_outcome: u32,
    /// The number of the last attempt with which the event was done on the route; 0 if it never
    /// was.
    pub last_done: u32,
}

impl Leases {
    /// Returns the number of the effect that the next call is to have. Calls with the same number
    /// repeat the same effect. The number is 1 until the event is done. It rises with the replay of
    /// a done event, because the operator wants a further effect. It stays the same with the replay
    /// of a dead letter, because an earlier call may have had the effect without recording it.
    pub fn effect(self) -> u32 {
        self.last_done.saturating_add(1)
    }

    /// Decides about a wish for a lease, for a target that permits the call. Returns the answer,
    /// and the leases that are then stored. `claimed` is the attempt that was claimed, and
    /// `waiting` the attempt for which the event waited before; `None` for a first attempt.
    pub fn next(
        self,
        claimed: u32,
        waiting: Option<WaitingAttempt>,
        lost_max: u32,
    ) -> (Leased, Leases) {
        let is_same = waiting.is_some_and(|waiting| waiting.attempt == claimed);
        let before = if is_same { self.without_outcome } else { 0 };
        if before >= lost_max {
            return (Leased::Lost { leases: before }, self);
        }
        let leases = Leases {
            epoch: self.epoch.saturating_add(1),
            without_outcome: before + 1,
            last_done: self.last_done,
        };
        let (epoch, effect) = (leases.epoch, self.effect());
        (Leased::Granted { epoch, effect }, leases)
    }
}

impl LeaseTerms<'_> {
    /// Decides about wishes for leases, and takes the permits for the calls from `target`. Returns
    /// the answer to each wish, in the order given, and the leases that are then stored for its
    /// event. `in_flight` is the number of leases of the target that have not ended.
    pub fn allot(
        &self,
        target: &mut TargetState,
        now: Timestamp,
        in_flight: u32,
        claims: &[LeaseClaim],
    ) -> Vec<(Leased, Leases)> {
        let next = |claim: &LeaseClaim| {
            claim
                .leases
                .next(claim.attempt, claim.waiting, self.lost_max)
        };
        let mut allotted: Vec<(Leased, Leases)> = claims.iter().map(next).collect();
        // Each wish that would get a lease also needs a permit of the target.
        let wanted = allotted.iter().filter(|(leased, _)| leased.is_granted());
        let wanted = u32::try_from(wanted.count()).unwrap_or(u32::MAX);
        if wanted == 0 {
            return allotted;
        }
        let (mut permits, why) = target.permit(now, self.limits, in_flight, wanted);
        for ((leased, leases), claim) in allotted.iter_mut().zip(claims) {
            if !leased.is_granted() {
                continue;
            }
            match permits.checked_sub(1) {
                Some(left) => permits = left,
                None => (*leased, *leases) = (Leased::Refused(why), claim.leases),
            }
        }
        allotted
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn waiting(attempt: u32) -> Option<WaitingAttempt> {
        Some(WaitingAttempt {
            attempt,
            attempts_before: 0,
            is_put_off: false,
        })
    }

    #[test]
    fn each_lease_has_a_higher_epoch_until_too_many_ended_without_an_outcome() {
        let leases = |epoch, without_outcome| Leases {
            epoch,
            without_outcome,
            last_done: 0,
        };
        let granted = |epoch| Leased::Granted { epoch, effect: 1 };
        for (stored, claimed, waits_for, expect, then) in [
            (Leases::default(), 1, None, granted(1), leases(1, 1)),
            // The first lease ended without an outcome.
            (leases(1, 1), 1, waiting(1), granted(2), leases(2, 2)),
            (leases(2, 2), 1, waiting(1), granted(3), leases(3, 3)),
            (
                leases(3, 3),
                1,
                waiting(1),
                Leased::Lost { leases: 3 },
                leases(3, 3),
            ),
            // A recorded outcome has set the count back to 0.
            (leases(3, 0), 2, waiting(2), granted(4), leases(4, 1)),
            // After a restore, the store no longer has the retry, so the claim is for a first
            // attempt.
            (leases(3, 3), 1, None, granted(4), leases(4, 1)),
        ] {
            let next = stored.next(claimed, waits_for, 3);
            assert_eq!(next, (expect, then), "{stored:?}, attempt {claimed}");
        }
    }

    #[test]
    fn a_call_has_the_effect_of_the_calls_before_until_the_event_is_done() {
        for (last_done, effect) in [(0, 1), (1, 2), (7, 8), (u32::MAX, u32::MAX)] {
            let stored = Leases {
                epoch: 4,
                without_outcome: 0,
                last_done,
            };
            let (leased, then) = stored.next(9, waiting(9), 3);
            assert_eq!(leased, Leased::Granted { epoch: 5, effect });
            assert_eq!(then.last_done, last_done);
        }
    }

    #[test]
    fn a_lost_event_takes_no_permit_and_a_refused_one_keeps_its_leases() {
        let target: TargetName = "https://example.com"
            .parse()
            .expect("the target name must be valid");
        let terms = LeaseTerms {
            target: &target,
            limits: TargetLimits {
                concurrency: NonZeroU32::new(3).expect("the limit must not be zero"),
                rate: None,
            },
            length: Duration::from_secs(30),
            lost_max: 2,
        };
        let claim = |epoch, without_outcome| LeaseClaim {
            attempt: 1,
            waiting: waiting(1),
            leases: Leases {
                epoch,
                without_outcome,
                last_done: 0,
            },
        };
        let claims = [claim(0, 0), claim(9, 2), claim(4, 1), claim(5, 1)];
        let mut state = TargetState::default();
        let allotted = terms.allot(&mut state, Timestamp::from_unix_micros(0), 1, &claims);
        let granted = |epoch| Leased::Granted { epoch, effect: 1 };
        let expect = [
            (granted(1), claim(1, 1).leases),
            (Leased::Lost { leases: 2 }, claim(9, 2).leases),
            (granted(5), claim(5, 2).leases),
            (Leased::Refused(NoPermit::Busy), claim(5, 1).leases),
        ];
        assert_eq!(allotted, expect);
    }

    #[test]
    fn only_the_wishes_that_are_granted_get_a_lease() {
        let granted = |epoch| Leased::Granted { epoch, effect: 1 };
        let leases = |epoch| Leases {
            epoch,
            ..Leases::default()
        };
        let allotted = [
            (granted(1), leases(1)),
            (Leased::Lost { leases: 2 }, leases(9)),
            (granted(5), leases(5)),
            (Leased::Refused(NoPermit::Busy), leases(6)),
        ];
        let given: Vec<_> = granted_leases(["a", "b", "c", "d"], &allotted).collect();
        assert_eq!(given, [("a", leases(1)), ("c", leases(5))]);
        let none = granted_leases(["b"], &allotted[1..2]);
        assert_eq!(none.count(), 0);
    }
}
