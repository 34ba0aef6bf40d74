//! Which events of a transaction run together again after the handler has failed on some of them,
//! and which have to leave the transaction.
//!
//! An event that is known to have failed leaves the transaction, and those before and after it run
//! again. Where it is not known which event failed, the part is halved, and its halves are halved
//! again, until the event is found. What succeeds stays in the transaction.
//!
//! An event that leaves the transaction runs alone later, in one of its own. Only that run counts
//! as an attempt: in a transaction with several events the cause may be what another event wrote,
//! and the handler may have named the wrong event.

use std::ops::Range;

use crate::groups::FAILED_RUNS_MAX;

/// The parts of a transaction's events that still have to run. Each event is given by its position.
pub(crate) struct Parts {
    /// The parts that have not run yet. The last one of them runs next.
    waiting: Vec<Part>,
    left: Vec<usize>,
    failed_runs: usize,
}

/// Events that run together.
struct Part {
    of: Range<usize>,
    /// If this part is the second half of a part that failed: the first half of that part. If that
    /// half succeeds, this part is known to fail. `None` for any other part.
    first_half: Option<Range<usize>>,
    /// Whether the first half has succeeded, so that this part is known to fail.
    is_failing: bool,
}

impl Part {
    fn new(of: Range<usize>) -> Self {
        Self {
            of,
            first_half: None,
            is_failing: false,
        }
    }
}

impl Parts {
    /// `failed_runs` is how many runs of the same events have failed in earlier transactions.
    pub fn new(count: usize, failed_runs: usize) -> Self {
        Self {
            waiting: vec![Part::new(0..count)],
            left: Vec::new(),
            failed_runs,
        }
    }

    /// Returns the next part to run. Does not return a part that is known to fail: that part is
    /// halved at once, or leaves the transaction if it is a single event.
    pub fn next(&mut self) -> Option<Range<usize>> {
        while let Some(part) = self.waiting.pop() {
            let is_single = part.of.len() == 1;
            if self.failed_runs >= FAILED_RUNS_MAX || (part.is_failing && is_single) {
                self.left.extend(part.of);
            } else if part.is_failing {
                self.halve(part.of);
            } else if !part.of.is_empty() {
                return Some(part.of);
            }
        }
        None
    }

    /// Records that all events of this part have succeeded.
    pub fn succeeded(&mut self, of: &Range<usize>) {
        if let Some(next) = self.waiting.last_mut() {
            next.is_failing |= next.first_half.as_ref() == Some(of);
        }
    }

    /// Records that the handler has failed on this part. `by` are the events that may be the cause.
    pub fn failed(&mut self, of: Range<usize>, by: &Range<usize>) {
        self.failed_runs += 1;
        if by.len() == 1 {
            self.left.push(by.start);
            self.waiting.push(Part::new(by.end..of.end));
            self.waiting.push(Part::new(of.start..by.start));
        } else {
            self.halve(of);
        }
    }

    /// Records that these events have not run and leave the transaction.
    pub fn leave(&mut self, of: Range<usize>) {
        self.left.extend(of);
    }

    fn halve(&mut self, of: Range<usize>) {
        let middle = of.start + of.len() / 2;
        let first = of.start..middle;
        self.waiting.push(Part {
            of: middle..of.end,
            first_half: Some(first.clone()),
            is_failing: false,
        });
        self.waiting.push(Part::new(first));
    }

    pub fn failed_runs(&self) -> usize {
        self.failed_runs
    }

    /// Returns the events that leave the transaction.
    pub fn left(&self) -> &[usize] {
        &self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the parts of a transaction in which some events fail, and returns the sizes of the runs
    /// and the events that leave the transaction.
    fn ran(count: usize, failing: &[usize], is_named: bool) -> (Vec<usize>, Vec<usize>) {
        let mut parts = Parts::new(count, 0);
        let (mut sizes, mut done) = (Vec::new(), Vec::new());
        while let Some(of) = parts.next() {
            sizes.push(of.len());
            let failed = of.clone().find(|at| failing.contains(at));
            match failed {
                None => {
                    parts.succeeded(&of);
                    done.extend(of);
                }
                Some(at) if is_named || of.len() == 1 => parts.failed(of, &(at..at + 1)),
                Some(_) => parts.failed(of.clone(), &of),
            }
        }
        let mut left = parts.left().to_vec();
        left.sort_unstable();
        let mut all = [done, left.clone()].concat();
        all.sort_unstable();
        assert_eq!(
            all,
            (0..count).collect::<Vec<_>>(),
            "each event must succeed or leave the transaction, and only once"
        );
        (sizes, left)
    }

    #[test]
    fn a_named_event_leaves_and_the_others_run_again() {
        assert_eq!(ran(64, &[], true), (vec![64], vec![]));
        assert_eq!(ran(64, &[40], true), (vec![64, 40, 23], vec![40]));
        let two = (vec![64, 7, 56, 32, 23], vec![7, 40]);
        assert_eq!(ran(64, &[40, 7], true), two);
        assert_eq!(ran(2, &[0, 1], true), (vec![2, 1], vec![0, 1]));
    }

    #[test]
    fn an_event_that_is_not_named_is_found_by_halves() {
        // If the first half succeeds, the failing event is in the second half. So that half does
        // not run as a whole: it is halved at once.
        let sizes = vec![64, 32, 16, 8, 4, 2, 1, 8, 16];
        assert_eq!(ran(64, &[39], false), (sizes, vec![39]));
        let sizes = vec![64, 32, 16, 8, 4, 2, 1, 1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1];
        assert_eq!(ran(64, &[0, 63], false), (sizes, vec![0, 63]));
        assert_eq!(ran(64, &[63], false).0, [64, 32, 16, 8, 4, 2, 1]);
        assert_eq!(ran(3, &[1], false), (vec![3, 1, 1, 1], vec![1]));
    }

    #[test]
    fn any_one_or_two_events_can_fail() {
        for first in 0..9 {
            for second in first..9 {
                for is_named in [true, false] {
                    let (_, left) = ran(9, &[first, second], is_named);
                    assert!(left.contains(&first) && left.contains(&second), "{left:?}");
                    assert!(left.len() <= 2, "{left:?}");
                }
            }
        }
    }

    #[test]
    fn a_part_that_fails_only_as_a_whole_ends_with_one_event_that_leaves() {
        let mut parts = Parts::new(8, 0);
        let mut done = 0;
        while let Some(of) = parts.next() {
            if of.len() == 8 {
                parts.failed(of.clone(), &of);
            } else {
                parts.succeeded(&of);
                done += of.len();
            }
        }
        assert_eq!((done, parts.left()), (7, &[7][..]));
    }

    #[test]
    fn a_transaction_that_keeps_failing_is_given_up() {
        let all: Vec<usize> = (0..64).collect();
        for is_named in [true, false] {
            let (sizes, left) = ran(64, &all, is_named);
            assert_eq!(sizes.len(), FAILED_RUNS_MAX);
            assert_eq!(left.len(), 64);
        }
        let mut parts = Parts::new(64, FAILED_RUNS_MAX);
        assert_eq!((parts.next(), parts.left().len()), (None, 64));
    }
}
