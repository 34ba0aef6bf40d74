//! A clock of a process's own, which a test shifts while the process runs.
//!
//! libfaketime, loaded into the process, adds what a file says to what the system says. Durations
//! are left alone: it is the time of day that is wrong on a machine whose clock is, and not how
//! fast time passes.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::{ServerError, find, ports};

/// Where processes find what is loaded into them.
const PRELOAD: &str = if cfg!(target_os = "macos") {
    "DYLD_INSERT_LIBRARIES"
} else {
    "LD_PRELOAD"
};

/// A clock that is right until it is shifted. Its folder is removed when this is dropped.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    folder: PathBuf,
}

impl Clock {
    /// Finds libfaketime on this machine.
    ///
    /// # Errors
    /// When it is not there, or there is no place for the file.
    pub fn new() -> Result<Clock, ServerError> {
        let library = find::faketime()?;
        let name = ports::random_name().map_err(ServerError::io("choosing a name"))?;
        // Readable by all: a server runs as another user.
        let folder = std::env::temp_dir().join(format!("hookbox-clock-{name}"));
        let made = fs::create_dir(&folder);
        made.map_err(ServerError::io(format!("making {}", folder.display())))?;
        let clock = Clock { library, folder };
        clock.shift(0)?;
        Ok(clock)
    }

    /// Sets it so many days before or after the system's, at once.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn shift(&self, days: i32) -> Result<(), ServerError> {
        let doing = || format!("shifting a clock in {}", self.folder.display());
        let next = self.folder.join("next");
        fs::write(&next, format!("{days:+}d\n")).map_err(ServerError::io(doing()))?;
        // A process that reads meanwhile finds the old shift or the new one.
        fs::rename(next, self.file()).map_err(ServerError::io(doing()))
    }

    /// What a process must find in its environment to go by this clock.
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
