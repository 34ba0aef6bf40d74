//! Writes log lines to standard error through a bounded queue in memory and a thread.
//!
//! The reader of the log may stop reading (a container runtime that restarts, a full disk behind a
//! pipe). Lines that do not fit into the queue are then dropped and counted, so that no request and
//! no drain ever waits for the reader.
//!
//! `tracing-appender` was considered and rejected, because it limits the number of lines and not of
//! bytes. In addition, if its queue is full when the process ends, it prints to standard output,
//! which can block or panic as well.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most bytes of lines that may be queued. About 15,000 lines fit, so that no line is dropped
/// while the reader of the log is slow for a moment.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;

/// A function that returns the line with which a number of dropped lines is reported.
type Notice = Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// The bounded queue between the code that logs lines and the thread that writes them.
pub struct Lines {
    state: Mutex<State>,
    /// Signalled when a line is queued or a notice is due, for the thread that writes.
    filled: Condvar,
    /// Signalled when every queued line is written, for callers of [`Lines::flush`].
    emptied: Condvar,
    dropped: AtomicU64,
    bytes_max: usize,
    notice: Notice,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether lines were dropped and the queue is still more than half full. As long as this is
    /// true, new lines are dropped as well, so that one notice covers all dropped lines.
    is_shedding: bool,
    /// The number of lines dropped since the last notice.
    unreported: u64,
    /// Whether the thread is writing a line at this moment.
    is_writing: bool,
}

impl Lines {
    /// Makes an empty queue for at most `bytes_max` bytes of lines.
    pub fn new(bytes_max: usize, notice: Notice) -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
            bytes_max,
            notice,
        }
    }

    /// Makes a queue, and starts a thread that writes its lines until the process ends.
    pub fn start(mut out: impl Write + Send + 'static, notice: Notice) -> io::Result<Arc<Self>> {
        let lines = Arc::new(Self::new(BYTES_MAX, notice));
        let waiting = Arc::clone(&lines);
        std::thread::Builder::new()
            .name("hookbox-log".to_owned())
            .spawn(move || {
                loop {
                    let line = waiting.next();
                    // If a line cannot be written, it is only counted, because a notice about the
                    // failure could not be written either.
                    if out.write_all(&line).is_err() {
                        waiting.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })?;
        Ok(lines)
    }

    /// Adds a line to the queue. Never waits.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let never_fits = line.len() > self.bytes_max;
        if state.is_shedding || never_fits || state.bytes + line.len() > self.bytes_max {
            state.is_shedding |= !never_fits;
            state.unreported += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            drop(state);
            // The notice about dropped lines must be written as well. If the queue is empty, only
            // this call wakes the thread that writes the notice.
            self.filled.notify_one();
            return;
        }
        self.report(&mut state);
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        drop(state);
        self.filled.notify_one();
    }

    /// Returns the number of lines that were not written since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every queued line is written, but not longer than `limit`; returns whether every
    /// line was written.
    pub fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        while !state.is_empty() || state.is_writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.emptied.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for the next line and returns it. The thread calls this when it has written the
    /// previous line, so the call also records that no line is being written.
    fn next(&self) -> Vec<u8> {
        let mut state = self.lock();
        state.is_writing = false;
        loop {
            if state.bytes <= self.bytes_max / 2 {
                state.is_shedding = false;
            }
            if state.lines.is_empty() {
                self.report(&mut state);
            }
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.is_writing = true;
                return line;
            }
            self.emptied.notify_all();
            let waited = self.filled.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds the notice about dropped lines to the queue, at the place where these lines are
    /// missing.
    fn report(&self, state: &mut State) {
        if state.unreported > 0 {
            let line = (self.notice)(state.unreported);
            state.unreported = 0;
            state.bytes += line.len();
            state.lines.push_back(line);
        }
    }

    /// Locks the state, even if the lock is poisoned. Only the function that makes the notice could
    /// panic while the lock is held. It runs before anything is changed, so the state is valid.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.unreported == 0
    }
}

/// The writer of the log layer: each write is one line.
pub struct LineWriter(pub Arc<Lines>);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a queue of 100 bytes that no thread empties.
    fn lines() -> Lines {
        Lines::new(100, Box::new(|dropped| format!("-{dropped}").into_bytes()))
    }

    fn next(lines: &Lines) -> String {
        String::from_utf8(lines.next()).unwrap()
    }

    fn push(lines: &Lines, numbers: std::ops::RangeInclusive<u32>) {
        for number in numbers {
            lines.push(format!("line {number:05}").as_bytes());
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_counted_and_noted_in_its_place() {
        let lines = lines();
        push(&lines, 1..=14);
        assert_eq!(
            lines.dropped(),
            4,
            "of 14 lines of 10 bytes, 4 must be dropped by a queue of 100 bytes"
        );
        for number in 1..=4 {
            assert_eq!(next(&lines), format!("line {number:05}"));
        }
        // The queue is more than half full, so all lines that are dropped now are covered by one
        // notice.
        push(&lines, 15..=16);
        assert_eq!(lines.dropped(), 6);
        assert_eq!(next(&lines), "line 00005");
        assert_eq!(next(&lines), "line 00006");
        push(&lines, 17..=17);
        for number in 7..=10 {
            assert_eq!(next(&lines), format!("line {number:05}"));
        }
        assert_eq!(next(&lines), "-6");
        assert_eq!(next(&lines), "line 00017");
        assert_eq!(
            lines.dropped(),
            6,
            "a notice must not reset the count of dropped lines"
        );
    }

    #[test]
    fn what_was_dropped_last_is_noted_when_the_queue_is_empty() {
        let lines = lines();
        push(&lines, 1..=12);
        for _ in 1..=10 {
            next(&lines);
        }
        assert_eq!(next(&lines), "-2");
    }

    /// A thread that waits for a line must be woken for the notice, because no other line would
    /// wake it.
    #[test]
    fn a_line_that_never_fits_is_noted_and_ends_nothing() {
        const PATIENCE: Duration = Duration::from_secs(20);
        let lines = Arc::new(lines());
        let (written, next_written) = std::sync::mpsc::channel();
        push(&lines, 1..=1);
        let waiting = Arc::clone(&lines);
        // This thread waits for a fourth line, which never comes, so it ends only with the process.
        std::thread::spawn(move || {
            loop {
                written.send(next(&waiting)).unwrap();
            }
        });
        // Everything is written, so the thread waits for the next line.
        assert!(lines.flush(PATIENCE));
        lines.push(&[b'x'; 101]);
        push(&lines, 2..=2);
        for expected in ["line 00001", "-1", "line 00002"] {
            assert_eq!(next_written.recv_timeout(PATIENCE).as_deref(), Ok(expected));
        }
        assert_eq!(lines.dropped(), 1);
    }

    #[test]
    fn a_flush_waits_for_the_writer_and_no_longer_than_it_may() {
        const SHORT: Duration = Duration::from_millis(5);
        let lines = Arc::new(lines());
        assert!(
            lines.flush(SHORT),
            "a flush must succeed when nothing was logged"
        );
        push(&lines, 1..=1);
        assert!(
            !lines.flush(SHORT),
            "a flush must fail while no thread writes the queued line"
        );
        assert_eq!(next(&lines), "line 00001");
        assert!(
            !lines.flush(SHORT),
            "a flush must fail while the line is being written"
        );
        let written = Arc::clone(&lines);
        // This thread waits for a second line, which never comes, so it ends only with the process.
        std::thread::spawn(move || written.next());
        assert!(lines.flush(Duration::from_secs(60)));
    }

    #[test]
    fn a_thread_writes_every_line_in_order() {
        let (reader, writer) = io::pipe().unwrap();
        let lines = Lines::start(writer, Box::new(|_| Vec::new())).unwrap();
        for number in 0..1_000 {
            lines.push(format!("{number}\n").as_bytes());
        }
        let reader = io::BufReader::new(reader);
        let read: Vec<String> = io::BufRead::lines(reader)
            .take(1_000)
            .map(Result::unwrap)
            .collect();
        let expected: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        assert_eq!(read, expected);
        assert!(lines.flush(Duration::from_secs(60)));
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let lines = Lines::start(full.unwrap(), Box::new(|_| Vec::new())).unwrap();
        push(&lines, 1..=3);
        assert!(lines.flush(Duration::from_secs(60)));
        assert_eq!(lines.dropped(), 3);
    }
}
