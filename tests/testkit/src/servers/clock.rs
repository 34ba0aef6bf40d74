//! A clock of a single process, which a test can shift while the process runs.
//!
//! libfaketime is loaded into the process and adds an offset from a file to the system's time. Only
//! the time of day is changed. Durations stay correct, as they do on a machine whose clock is
//! wrong.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::{ServerError, find, ports};

/// The environment variable that makes the system load a library into a new process.
const PRELOAD: &str = if cfg!(target_os = "macos") {
    "DYLD_INSERT_LIBRARIES"
} else {
    "LD_PRELOAD"
};

/// A clock for processes under test. It shows the system's time until a test shifts it. It has a
/// folder with its offset, which is removed when this value is dropped.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    folder: PathBuf,
}

impl Clock {
    /// Finds libfaketime on this machine.
    ///
    /// # Errors
    /// When libfaketime is not installed, or the file with the offset cannot be written.
    pub fn new() -> Result<Clock, ServerError> {
        let library = find::faketime()?;
        let name = ports::random_name().map_err(ServerError::io("choosing a name"))?;
        // The folder has the default mode, so every user can read it. This is needed because a
        // server may run as another user than the test.
        let folder = std::env::temp_dir().join(format!("hookbox-clock-{name}"));
        let made = fs::create_dir(&folder);
        made.map_err(ServerError::io(format!("making {}", folder.display())))?;
        let clock = Clock { library, folder };
        clock.shift(0)?;
        Ok(clock)
    }

    /// Sets the clock to this many days after the system's time, or before it if `days` is
    /// negative. This takes effect at once, also in processes that run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn shift(&self, days: i32) -> Result<(), ServerError> {
        let doing = || format!("shifting a clock in {}", self.folder.display());
        let next = self.folder.join("next");
        fs::write(&next, format!("{days:+}d\n")).map_err(ServerError::io(doing()))?;
        // The rename is atomic, so a process that reads at this moment finds either the old offset
        // or the new one.
        fs::rename(next, self.file()).map_err(ServerError::io(doing()))
    }

    /// Returns the environment variables that make a process use this clock.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            (PRELOAD, self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.join("shift")
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
