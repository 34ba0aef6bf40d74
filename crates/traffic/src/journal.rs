//! The journal: a file with one JSON line for each time that a request is sent. A checking tool
//! compares the lines with the tables of the store, and an engineer uses them to explain a wrong
//! number. The journal contains no body, no signature and no key.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The longest time before a line is synced to disk. A crash of the machine must not lose the
/// journal, but a sync for each line would make the sender slower than the system under test.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// A file to which lines are appended.
pub struct Journal {
    state: Mutex<State>,
}

struct State {
    file: BufWriter<File>,
    synced: Instant,
    failed: Option<io::Error>,
}

/// A line of the journal: a request that was sent once, either for the first time or as a retry.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// The number of the event, from 0.
    pub(super) event: u32,
    /// The class of the event: valid, tampered or malformed.
    pub(super) class: &'static str,
    /// The role of the request: original, duplicate or conflict.
    pub(super) copy: &'static str,
    /// The type of the event.
    pub(super) r#type: &'static str,
    /// How often the request was sent up to this time, so 1 for the first time.
    pub(super) attempt: u32,
    /// The status of the response; null if there was none.
    pub(super) status: Option<u16>,
    /// The id of the receipt, if the request was accepted.
    pub(super) receipt: Option<&'a str>,
    /// The SHA-256 of the body as it was signed, to be compared with the stored body.
    pub(super) digest: &'a str,
    /// Why there was no response; null if there was one.
    pub(super) error: Option<&'a str>,
    /// The time from the moment when the request was sent to its response or error, in
    /// milliseconds.
    pub(super) milliseconds: f64,
}

impl Journal {
    /// Opens the file to append to it. A file that does not exist is created, readable only by its
    /// owner.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let state = State {
            file: BufWriter::new(options.open(path)?),
            synced: Instant::now(),
            failed: None,
        };
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// Writes a line. If that fails, requests are still sent, and [`Journal::finish`] returns the
    /// first failure.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        let mut state = self.state();
        let written = serde_json::to_writer(&mut state.file, entry).map_err(io::Error::from);
        let written = written.and_then(|()| state.file.write_all(b"\n"));
        let written = written.and_then(|()| state.sync_when_due());
        if let Err(error) = written {
            state.failed.get_or_insert(error);
        }
    }

    /// Writes the lines that are still in memory to the file. Returns the first error of this and
    /// of all earlier writes.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state();
        let flushed = state.sync();
        state.failed.take().map_or(flushed, Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic of another writer, the lock is used all the same. The panicked writer has
        // written its line completely, partly or not at all, and the state stays usable for the
        // next line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sync_when_due(&mut self) -> io::Result<()> {
        if self.synced.elapsed() < SYNC_EVERY {
            return Ok(());
        }
        self.sync()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        // If the journal is a pipe, it cannot be synced, and need not be, because nothing is
        // written to a disk.
        if self.file.get_ref().metadata()?.is_file() {
            self.file.get_ref().sync_data()?;
        }
        self.synced = Instant::now();
        Ok(())
    }
}
