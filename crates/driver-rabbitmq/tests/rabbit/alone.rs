//! Runs a test in a process of its own when the test reads what all tests of one process share: the
//! threads or the log.

use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox_testkit::eventually::within;

/// The environment variable that is set in the separate process of a test that must run alone.
const ALONE: &str = "HOOKBOX_TEST_ALONE";

/// Returns whether this process was started for the named test alone. If not, it runs that test in
/// a new process and waits for it, and the caller must return.
pub fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(" 1 passed"),
        "the test {name} failed in its separate process:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Returns the names of those threads of this process that lapin or the driver started for AMQP.
pub fn amqp_threads() -> Vec<String> {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        // The name of a thread that ends after it was listed cannot be read, so this thread is left
        // out.
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("lapin") || name.starts_with("hookbox-amqp"))
        .collect()
}

pub async fn no_amqp_thread_is_left() {
    within(
        Duration::from_secs(10),
        "every AMQP thread must end",
        async || {
            let left = amqp_threads();
            left.is_empty().then_some(()).ok_or(left)
        },
    )
    .await;
}

/// Collects what this process logs, so that a test can read it.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Starts to collect all log output of this process.
    pub fn begin() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    pub fn said(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
