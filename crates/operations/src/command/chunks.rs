//! Hands out what an operator was shown, chunk by chunk, for commands that change many rows.

use super::pace::Pace;
use crate::Operator;

/// The part of a list that is not changed yet, and how fast it may be changed.
pub(super) struct Chunks<'s, T> {
    shown: &'s [T],
    left: &'s [T],
    most: u32,
    pace: Pace,
}

/// What a command does next.
pub(super) enum Next<'s, T> {
    /// It changes these items in one transaction. The number of the items is also given.
    Change(&'s [T], u32),
    /// It has changed everything.
    End,
    /// The operator has interrupted it.
    Interrupted,
}

impl<'s, T> Chunks<'s, T> {
    /// Starts a change of all items of a list, in their order, `most` at a time at most. `rate` is
    /// the highest number of items per second; without it, they are changed as fast as possible.
    pub(super) fn new(shown: &'s [T], most: u32, rate: Option<f64>) -> Self {
        Self {
            shown,
            left: shown,
            most,
            pace: Pace::new(rate),
        }
    }

    /// Reports the progress, and waits until the next chunk may be changed.
    pub(super) async fn next(&mut self, operator: &mut dyn Operator) -> Next<'s, T> {
        let seen = (self.shown.len() - self.left.len()) as u64;
        operator.progress(seen, self.shown.len() as u64);
        if self.left.is_empty() {
            return Next::End;
        }
        self.pace.wait(seen, operator).await;
        if operator.interrupted() {
            return Next::Interrupted;
        }
        let wanted = self.pace.chunk(self.most) as usize;
        let (chunk, rest) = self.left.split_at(self.left.len().min(wanted));
        self.left = rest;
        Next::Change(chunk, u32::try_from(chunk.len()).unwrap_or(self.most))
    }
}
