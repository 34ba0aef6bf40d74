//! The retries of the fake store that are not due yet.

use std::sync::Mutex;

use hookbox_driver::{EventCursor, RetryFilter, WaitingRetry};
use hookbox_event::EventId;

use crate::world::{Memory, at};

/// Returns retries of different events that are due in more than an hour.
pub fn early(count: u32) -> Mutex<Vec<WaitingRetry>> {
    let retry = |number: u32| {
        let mut event = [0; 16];
        event[..4].copy_from_slice(&number.to_be_bytes());
        WaitingRetry {
            event: EventId::from_bytes(event),
            route: "scores".parse().unwrap(),
            topic: "begini.application.complete".parse().unwrap(),
            attempt: 2,
            not_before: at(3_600 + i64::from(number)),
            queued_at: None,
            deferred: None,
            error: None,
        }
    };
    Mutex::new((0..count).map(retry).collect())
}

impl Memory {
    /// Returns a page of these retries; `None` if there are none.
    pub fn early_page(&self, after: Option<&EventCursor>, limit: u32) -> Option<Vec<WaitingRetry>> {
        let mut early = self.early.lock().unwrap().clone();
        if early.is_empty() {
            return None;
        }
        early.sort_by_key(|row| (row.not_before, row.event));
        early.retain(|row| {
            after.is_none_or(|after| (row.not_before, row.event) > (after.at, after.event))
        });
        early.truncate(limit as usize);
        Some(early)
    }

    /// Makes at most `limit` of these retries due, and returns how many.
    pub fn make_due(&self, filter: &RetryFilter, limit: u32) -> u64 {
        let mut early = self.early.lock().unwrap();
        let mut some = 0;
        early.retain_mut(|row| {
            let is_other = !filter.events.is_empty() && !filter.events.contains(&row.event);
            if some == u64::from(limit) || is_other {
                return true;
            }
            some += 1;
            row.attempt += 1;
            row.not_before = at(15);
            self.fails_at_once
        });
        some
    }
}
