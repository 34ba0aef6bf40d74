//! Runs numbered pieces of work on several threads, and hands over their results in order, as one
//! thread would.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::Result;

/// Runs `work` for each number below `of`, and hands the results to `take` in the order of the
/// numbers. It ends when `take` breaks or fails. Work that other threads have begun by then is
/// completed, and its results are dropped.
///
/// # Errors
/// The error of `take`.
pub fn each<R: Send>(
    of: u64,
    threads: NonZero<usize>,
    work: impl Fn(u64) -> R + Sync,
    mut take: impl FnMut(R) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let (next, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let run = |results: mpsc::SyncSender<(u64, R)>| {
        while !ended.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= of || results.send((number, work(number))).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        // The channel has room for one result of each thread. So no thread gets far ahead of the
        // others.
        let (results, received) = mpsc::sync_channel(threads.get());
        for _ in 0..threads.get() {
            let results = results.clone();
            scope.spawn(|| run(results));
        }
        drop(results);
        let mut early = BTreeMap::new();
        let mut taken = 0;
        for (number, result) in received {
            early.insert(number, result);
            while let Some(result) = early.remove(&taken) {
                taken += 1;
                let more = take(result);
                if !matches!(more, Ok(ControlFlow::Continue(()))) {
                    ended.store(true, Ordering::Relaxed);
                    return more.map(|_| ());
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    const FOUR: NonZero<usize> = NonZero::new(4).unwrap();

    #[test]
    fn results_are_taken_in_order() -> Result<()> {
        let mut taken = Vec::new();
        // The work for earlier numbers takes longer, so the results are not ready in order.
        let slower = |number: u64| {
            (number..64).for_each(|_| thread::yield_now());
            number
        };
        each(64, FOUR, slower, |it| {
            taken.push(it);
            Ok(ControlFlow::Continue(()))
        })?;
        assert_eq!(taken, (0..64).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn nothing_is_taken_after_a_break_or_an_error() -> Result<()> {
        let mut taken = Vec::new();
        each(
            u64::MAX,
            FOUR,
            |it| it,
            |it| {
                taken.push(it);
                Ok(if it == 9 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            },
        )?;
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
        let failed = each(
            u64::MAX,
            FOUR,
            |it| it,
            |it| {
                ensure!(it < 9, "nine");
                Ok(ControlFlow::Continue(()))
            },
        );
        assert_eq!(failed.unwrap_err().to_string(), "nine");
        Ok(())
    }
}
