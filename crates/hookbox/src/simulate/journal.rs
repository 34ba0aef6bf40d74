//! One JSON line for each request that was made: a checker compares it with the tables, and a
//! reader explains a wrong number with it. No body, no signature, no key.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How long a line may wait for the disk. The journal must not be lost with the machine, and a sync
/// for each line would make the sender slower than the system under test.
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

/// One request attempt.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// The number of the event, from 0.
    pub(super) event: u32,
    /// valid, tampered or malformed.
    pub(super) class: &'static str,
    /// original, duplicate or conflict.
    pub(super) copy: &'static str,
    /// The type of the event.
    pub(super) r#type: &'static str,
    /// The number of the attempt at this request, from 1.
    pub(super) attempt: u32,
    /// The status of the answer; null where there was none.
    pub(super) status: Option<u16>,
    /// The receipt, where it was accepted.
    pub(super) receipt: Option<&'a str>,
    /// The SHA-256 of the body as it was signed, to be compared with the stored one.
    pub(super) digest: &'a str,
    /// Why there was no answer.
    pub(super) error: Option<&'a str>,
    /// How long it took.
    pub(super) milliseconds: f64,
}

impl Journal {
    /// Appends to a file, which is created for its owner only where it does not exist.
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

    /// Writes a line. The first failure is kept for [`Journal::finish`], as the traffic continues.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        let mut state = self.state();
        let written = serde_json::to_writer(&mut state.file, entry).map_err(io::Error::from);
        let written = written.and_then(|()| state.file.write_all(b"\n"));
        let written = written.and_then(|()| state.sync_when_due());
        if let Err(error) = written {
            state.failed.get_or_insert(error);
        }
    }

    /// Flushes what is still in memory.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state();
        let flushed = state.sync();
        state.failed.take().map_or(flushed, Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A writer that panicked has written a line completely, partly or not at all; the next line
        // is not affected.
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
        // Not every file has a disk behind it: a pipe cannot be synced, and need not be.
        if self.file.get_ref().metadata()?.is_file() {
            self.file.get_ref().sync_data()?;
        }
        self.synced = Instant::now();
        Ok(())
    }
}
